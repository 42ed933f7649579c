//! What an API token may be used for.

/// One permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read the portfolio, its history and its downloads.
    PortfolioRead,
    /// Import the inventory, and follow an import.
    PortfolioImport,
    /// Read who the owner is, and their security events.
    AccountRead,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::PortfolioRead, Self::PortfolioImport, Self::AccountRead];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PortfolioRead => "portfolio:read",
            Self::PortfolioImport => "portfolio:import",
            Self::AccountRead => "account:read",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// Some of them, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Reads names separated by blanks; unknown ones give nothing.
    pub fn parse(names: &str) -> Self {
        names.split(' ').filter_map(Scope::parse).collect()
    }

    /// Whether it is one of them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope)).map(Scope::as_str)
    }

    fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | Self::bit(scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_give_nothing() {
        let scopes = Scopes::parse("account:read portfolio:read root:* portfolio:read");
        assert_eq!(scopes.names().collect::<Vec<_>>(), ["portfolio:read", "account:read"]);
        assert!(!scopes.contains(Scope::PortfolioImport));
        assert!(Scopes::parse("").is_empty());
    }
}
