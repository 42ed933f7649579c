//! The permissions of API tokens.

/// One permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read the portfolio, its history and its downloads.
    PortfolioRead,
    /// Import the inventory, and follow the import's progress.
    PortfolioImport,
    /// Read the owner's account and security events.
    AccountRead,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::PortfolioRead, Self::PortfolioImport, Self::AccountRead];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PortfolioRead => "portfolio:read",
            Self::PortfolioImport => "portfolio:import",
            Self::AccountRead => "account:read",
        }
    }

    /// Parses the name used in the API.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Parses names separated by spaces; unknown names are ignored.
    pub fn parse(names: &str) -> Self {
        names.split(' ').filter_map(Scope::parse).collect()
    }

    /// Whether the set contains the scope.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the scopes in the set.
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
