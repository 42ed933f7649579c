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
        let parsed = Parser::new().parse(agent);
        let browser = parsed.as_ref().and_then(|parsed| named(parsed.name)).map(browser);
        let device = parsed.and_then(|parsed| named(parsed.os)).map(device);
        let marked = |marks: &[(&str, &str)]| {
            let mark = marks.iter().find(|(mark, _)| contains(agent, mark));
            mark.map(|(_, name)| (*name).to_owned())
        };
        Self {
            browser: marked(&PROGRAMS)
                .or(browser.filter(|name| name != "HTTP Library"))
                .or_else(|| tool(agent)),
            device: marked(&CONSOLES).or(device),
        }
    }

    /// The form stored in a session, which may have only nine bytes for it. It is a letter for the
    /// device, a colon and a letter for the browser. A browser without a letter is spelled out. If
    /// the device has no letter, both are spelled out, separated by a bar.
    pub fn label(&self) -> String {
        let browser = self.browser.as_deref().unwrap_or_default();
        let device = self.device.as_deref().unwrap_or_default();
        match letter_of(&DEVICES, device) {
            Some(device) => {
                format!("{device}:{}", letter_of(&BROWSERS, browser).unwrap_or(browser))
            }
            None => format!("{browser}|{device}"),
        }
    }

    /// Parses [`Client::label`], also when the session store truncated it.
    pub fn from_label(label: &str) -> Self {
        let part = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        if let Some((letter, browser)) = label.split_once(':')
            && let Some(device) = of_letter(&DEVICES, letter)
        {
            let browser = of_letter(&BROWSERS, browser).unwrap_or(browser);
            return Self { browser: part(browser), device: part(device) };
        }
        let (browser, device) = label.split_once('|').unwrap_or((label, ""));
        let is_cut = |name: &&str| device.len() > 2 && name.starts_with(device);
        let whole = DEVICES.iter().map(|(_, name)| *name).find(is_cut);
        Self { browser: part(browser), device: part(whole.unwrap_or(device)) }
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

/// Marks in the `User-Agent` of programs with an embedded browser, and the names shown for them.
const PROGRAMS: [(&str, &str); 4] = [
    ("Valve Steam GameOverlay", "Steam overlay"),
    ("Valve Steam App", "Steam app"),
    ("Valve Steam", "Steam"),
    ("discord/", "Discord"),
];

/// Marks of devices that the name of the operating system does not identify.
const CONSOLES: [(&str, &str); 2] = [("Steam Deck", "Steam Deck"), ("SteamDeck", "Steam Deck")];

/// Letters in labels. A letter never changes its meaning.
type Letters = [(&'static str, &'static str)];

const DEVICES: [(&str, &str); 9] = [
    ("w", "Windows"),
    ("m", "macOS"),
    ("l", "Linux"),
    ("i", "iPhone"),
    ("p", "iPad"),
    ("a", "Android"),
    ("c", "ChromeOS"),
    ("d", "Steam Deck"),
    ("-", ""),
];

const BROWSERS: [(&str, &str); 15] = [
    ("C", "Chrome"),
    ("F", "Firefox"),
    ("S", "Safari"),
    ("E", "Edge"),
    ("O", "Opera"),
    ("V", "Vivaldi"),
    ("Y", "Yandex Browser"),
    ("M", "Samsung Internet"),
    ("G", "Google Search App"),
    ("W", "Webview"),
    ("I", "Internet Explorer"),
    ("T", "Steam"),
    ("A", "Steam app"),
    ("L", "Steam overlay"),
    ("D", "Discord"),
];

fn letter_of(letters: &Letters, name: &str) -> Option<&'static str> {
    letters.iter().find(|(_, known)| *known == name).map(|(letter, _)| *letter)
}

fn of_letter(letters: &Letters, letter: &str) -> Option<&'static str> {
    letters.iter().find(|(known, _)| *known == letter).map(|(_, name)| *name)
}

/// Whether the text contains the mark, ignoring ASCII case.
fn contains(text: &str, mark: &str) -> bool {
    let mut parts = text.as_bytes().windows(mark.len());
    parts.any(|part| part.eq_ignore_ascii_case(mark.as_bytes()))
}

/// A session's address as shown to its user; for IPv6, only the network.
pub fn shown_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty() && text != "UNKNOWN").then(|| text.to_owned())
}

fn browser(name: String) -> String {
    if name == "SamsungBrowser" { "Samsung Internet".to_owned() } else { name }
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
    fn what_players_use_is_named() {
        const CHROMIUM: &str = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0";
        for (before, behind, phrase) in [
            ("Windows NT 10.0; Win64; x64; Valve Steam Client/default/1", "", "Steam on Windows"),
            (
                "Windows; U; Windows NT 10.0; en-US; Valve Steam GameOverlay/1; ",
                "",
                "Steam overlay on Windows",
            ),
            ("X11; Linux x86_64; Valve Steam Gamepad/Steam Deck", "", "Steam on Steam Deck"),
            ("X11; Linux x86_64; Steam Deck", "", "Chrome on Steam Deck"),
            ("Linux; Android 12; SM-S906N; wv; Valve Steam App", " Mobile", "Steam app on Android"),
            (
                "Windows NT 10.0; Win64; x64",
                " discord/1.0.9163 Electron/30.2.0",
                "Discord on Windows",
            ),
            ("iPhone; CPU iPhone OS 17_5 like Mac OS X", " Discord/220.0", "Discord on iPhone"),
            (
                "Linux; Android 14; SM-S921B",
                " SamsungBrowser/25.0 Mobile",
                "Samsung Internet on Android",
            ),
            ("Windows NT 10.0; Win64; x64", " YaBrowser/24.7.0.0", "Yandex Browser on Windows"),
        ] {
            let agent = format!("Mozilla/5.0 ({before}) {CHROMIUM}{behind} Safari/537.36");
            assert_eq!(Client::from_user_agent(&agent).phrase(), phrase, "{agent}");
        }
    }

    #[test]
    fn a_session_keeps_the_whole_name_of_every_common_client() {
        for (_, browser) in BROWSERS {
            for (_, device) in DEVICES {
                let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
                let client = Client { browser: named(browser), device: named(device) };
                assert!(client.label().len() <= 9, "{client:?}");
                assert_eq!(Client::from_label(&client.label()), client);
            }
        }
    }

    #[test]
    fn a_name_that_was_cut_tells_the_device() {
        for (label, phrase) in [
            ("Yandex Browser|Windo", "Yandex Browser on Windows"),
            ("SamsungBrowser|Andro", "SamsungBrowser on Android"),
            ("Google Search App|iP", "Google Search App on iP"),
            ("Firefox|PlayStation ", "Firefox on PlayStation "),
            ("w:UncommonBro", "UncommonBro on Windows"),
            ("-:curl", "curl"),
            ("C:C", "C:C"),
        ] {
            assert_eq!(Client::from_label(label).phrase(), phrase);
        }
    }

    #[test]
    fn a_label_reads_back() {
        let client = Client { browser: Some("Firefox".into()), device: Some("Linux".into()) };
        assert_eq!(client.label(), "l:F");
        assert_eq!(Client::from_label(&client.label()), client);
        assert_eq!(Client::from_label("Firefox|Linux"), client);
        let odd = Client { browser: Some("Opera".into()), device: Some("Nintendo Wii".into()) };
        assert_eq!(Client::from_label(&odd.label()), odd);
        let tool = Client { browser: Some("curl".into()), device: None };
        assert_eq!(Client::from_label(&tool.label()), tool);
        assert_eq!(Client::from_label(&Client::default().label()), Client::default());
        assert_eq!(
            Client::from_label("Firef"),
            Client { browser: Some("Firef".into()), device: None }
        );
        assert_eq!(Client::from_label("|"), Client::default());
        assert_eq!(client.phrase(), "Firefox on Linux");
    }
}
