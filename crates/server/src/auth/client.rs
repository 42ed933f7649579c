//! Describes browser and device from a `User-Agent` in a few words.

use std::net::IpAddr;

use woothee::parser::Parser;

/// The client that sent a request.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The browser.
    pub client: Client,
    /// The client's address.
    pub ip: IpAddr,
    /// The token in the device cookie. It identifies a browser used before.
    pub device_token: Option<String>,
}

/// Browser and device, as people call them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The browser, such as `Firefox`.
    pub browser: Option<String>,
    /// The device, such as `Windows` or `iPhone`.
    pub device: Option<String>,
}

impl Client {
    /// Parses a `User-Agent`; unknown parts are `None`.
    pub fn from_user_agent(agent: &str) -> Self {
        let agent = &agent[..agent.floor_char_boundary(512)];
        let Some(parsed) = Parser::new().parse(agent) else {
            return Self { browser: tool(agent), device: None };
        };
        Self {
            browser: named(parsed.name)
                .filter(|name| name != "HTTP Library")
                .or_else(|| tool(agent)),
            device: named(parsed.os).map(device),
        }
    }

    /// The form stored in a session: both parts, separated by a bar.
    pub fn label(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}|{}", part(&self.browser), part(&self.device))
    }

    /// Parses [`Client::label`], also when the session store truncated it.
    pub fn from_label(label: &str) -> Self {
        let (browser, device) = label.split_once('|').unwrap_or((label, ""));
        let part = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        Self { browser: part(browser), device: part(device) }
    }

    /// A phrase for pages and mails: `Firefox on Linux`.
    pub fn phrase(&self) -> String {
        match (&self.browser, &self.device) {
            (Some(browser), Some(device)) => format!("{browser} on {device}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => "an unknown device".to_owned(),
        }
    }
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty() && text != "UNKNOWN").then(|| text.to_owned())
}

fn device(os: String) -> String {
    match &*os {
        "Mac OSX" => "macOS".to_owned(),
        windows if windows.starts_with("Windows") && !windows.starts_with("Windows Phone") => {
            "Windows".to_owned()
        }
        _ => os,
    }
}

/// The name of a command-line client or library: the part before the slash.
fn tool(agent: &str) -> Option<String> {
    let name = agent.split(['/', ' ']).next().unwrap_or_default();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (plain && (1..=20).contains(&name.len())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(agent: &str) -> (Option<String>, Option<String>) {
        let Client { browser, device } = Client::from_user_agent(agent);
        (browser, device)
    }

    #[test]
    fn common_clients_are_named() {
        for (agent, browser, device) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox",
                "Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/156.0.0.0 Safari/537.36",
                "Chrome",
                "Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari",
                "iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, \
                 like Gecko) Version/18.0 Safari/605.1.15",
                "Safari",
                "macOS",
            ),
        ] {
            assert_eq!(client(agent), (Some(browser.into()), Some(device.into())), "{agent}");
        }
        assert_eq!(client("curl/8.5.0"), (Some("curl".into()), None));
        assert_eq!(client(""), (None, None));
        assert_eq!(client("<script>/1"), (None, None));
    }

    #[test]
    fn a_label_reads_back() {
        let client = Client { browser: Some("Firefox".into()), device: Some("Linux".into()) };
        assert_eq!(Client::from_label(&client.label()), client);
        assert_eq!(
            Client::from_label("Firef"),
            Client { browser: Some("Firef".into()), device: None }
        );
        assert_eq!(Client::from_label("|"), Client::default());
        assert_eq!(client.phrase(), "Firefox on Linux");
    }
}
