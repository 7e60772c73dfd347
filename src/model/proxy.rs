//! The address of a proxy.

use std::fmt;
use std::str::FromStr;

use super::reference::is_registry;

/// A proxy for HTTP, and for what is tunnelled through it: `http://[NAME:PASSWORD@]HOST[:PORT]`, or with
/// `https://` where TLS is spoken with the proxy itself.
///
/// Nothing prints the name and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: &'static str,
    /// As in a URL: what is no letter or digit is written `%XX`.
    login: Option<String>,
    /// `HOST` or `HOST:PORT`
    authority: String,
}

/// Why a text is no proxy. It may hold a password, and is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    #[error(
        "is not \"http://HOST:PORT\" or \"https://HOST:PORT\", with NAME:PASSWORD@ before the host where the proxy wants it"
    )]
    Form,
    #[error(
        "names a proxy of another kind (SOCKS?), which is not supported: \"http://HOST:PORT\" and \"https://HOST:PORT\" are"
    )]
    Kind,
    #[error("has characters in its name or password that have to be written as %XX there")]
    Login,
}

impl Proxy {
    /// The whole URL, with the name and the password: for who connects to it.
    pub fn url(&self) -> String {
        let login = self.login.as_ref().map(|login| format!("{login}@")).unwrap_or_default();
        format!("{}://{login}{}", self.scheme, self.authority)
    }

    /// Whether it is reached by a name, or with a password.
    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    /// As curl(1) and Go read the variables: without a scheme, `http` is meant; a path counts for nothing.
    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err(InvalidProxy::Kind),
        };
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, rest),
        };
        let authority = host.split('/').next().unwrap_or(host);
        if !is_registry(authority) {
            return Err(InvalidProxy::Form);
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]\\\"<>^`{|}".contains(&byte);
        if login.is_some_and(|login| !login.bytes().all(plain)) {
            return Err(InvalidProxy::Login);
        }
        let login = login.filter(|login| !login.is_empty()).map(str::to_owned);
        Ok(Self { scheme, login, authority: authority.to_owned() })
    }
}

/// Without name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_password() {
        for (text, shown, url) in [
            ("proxy:3128", "http://proxy:3128", "http://proxy:3128"),
            ("HTTP://proxy.example/", "http://proxy.example", "http://proxy.example"),
            (
                "https://u:hunter2%40@[::1]:3128/x",
                "https://[::1]:3128",
                "https://u:hunter2%40@[::1]:3128",
            ),
            (" http://@proxy:1 ", "http://proxy:1", "http://proxy:1"),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!((proxy.to_string().as_str(), proxy.url().as_str()), (shown, url));
            assert_eq!(proxy.has_login(), url.contains("hunter2"));
            assert!(!format!("{proxy:?} {proxy}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, why) in [
            ("", InvalidProxy::Form),
            ("http://", InvalidProxy::Form),
            ("http://proxy:port", InvalidProxy::Form),
            ("http://u:p@", InvalidProxy::Form),
            ("http://pro xy", InvalidProxy::Form),
            ("socks5://proxy:1080", InvalidProxy::Kind),
            ("http://u:hunter/2@proxy", InvalidProxy::Login),
            ("http://u:hunter 2@proxy", InvalidProxy::Login),
            ("http://u:hunter@2@proxy", InvalidProxy::Login),
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(why), "{text}");
        }
    }
}
