//! Which proxy is between this host and a registry: as the environment says, and the configuration before
//! it (updaterd.toml(5), `[registry]`).
//!
//! What must not live here: what is sent to it. Nothing here prints a proxy's password.

use std::fmt;

use reqwest::Url;

use super::no_proxy::NoProxy;
use crate::config::RegistrySettings;
use crate::model::{InvalidProxy, Proxy};

/// In the configuration.
const KEY: &str = "\"proxy\" of updaterd.toml";

/// The proxies, and who is asked without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    none_for: NoProxy,
    /// [`Proxies::none_for`], as it is written.
    direct: Vec<String>,
}

/// A proxy, and who names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    by: &'static str,
    proxy: Result<Proxy, InvalidProxy>,
}

/// The proxy that a request takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    proxy: Proxy,
    by: &'static str,
}

/// A proxy that is named and cannot be one. Nobody is asked without it: it may be there for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{by} {why}")]
pub struct Misnamed {
    by: &'static str,
    why: InvalidProxy,
}

impl Proxies {
    /// `HTTPS_PROXY` for registries with TLS, `HTTP_PROXY` for those without, `ALL_PROXY` for both, where
    /// there is neither, `NO_PROXY`; the same in lower case.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let set = |name: &&'static str| {
                let value = variable(name).filter(|value| !value.trim().is_empty())?;
                Some((*name, value))
            };
            names.iter().find_map(set)
        };
        let named = |names: &[&'static str]| {
            let (by, value) = first(names).or_else(|| first(&["ALL_PROXY", "all_proxy"]))?;
            Some(Named { by, proxy: value.parse() })
        };
        let mut proxies = Self {
            http: named(&["HTTP_PROXY", "http_proxy"]),
            https: named(&["HTTPS_PROXY", "https_proxy"]),
            ..Self::default()
        };
        proxies.spare(first(&["NO_PROXY", "no_proxy"]).map(|(_, hosts)| hosts));
        proxies
    }

    /// With what the configuration says: its proxy in the place of the environment's, and the hosts that
    /// either asks without one.
    pub fn configured(mut self, settings: &RegistrySettings) -> Self {
        if let Some(proxy) = &settings.proxy {
            let named = Named { by: KEY, proxy: Ok(proxy.clone()) };
            (self.http, self.https) = (Some(named.clone()), Some(named));
        }
        self.spare(settings.no_proxy.iter().cloned());
        self
    }

    fn spare(&mut self, hosts: impl IntoIterator<Item = String>) {
        for list in hosts {
            self.none_for.add(&list);
            self.direct.push(list);
        }
    }

    /// Whether there is any.
    pub(super) fn are_there(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// The proxy for a request; `None` where it goes to its host. This host itself no proxy can reach.
    ///
    /// # Errors
    /// Where one is named that is none.
    pub(super) fn of(&self, url: &Url) -> Result<Option<Via>, Misnamed> {
        let named = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        let Some(Named { by, proxy }) = named else { return Ok(None) };
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        if is_loopback(host) || self.none_for.has(host, port) {
            return Ok(None);
        }
        match proxy {
            Ok(proxy) => Ok(Some(Via { proxy: proxy.clone(), by })),
            Err(why) => Err(Misnamed { by, why: *why }),
        }
    }

    /// The same, for a program that reads them from its environment. A proxy with a password is left out
    /// where somebody may see that environment (`is_seen`).
    pub fn variables(&self, is_seen: bool) -> Vec<(&'static str, String)> {
        let both = [("HTTP_PROXY", &self.http), ("HTTPS_PROXY", &self.https)];
        let mut variables: Vec<_> = both
            .into_iter()
            .filter_map(|(name, named)| Some((name, named.as_ref()?.proxy.as_ref().ok()?)))
            .filter(|(_, proxy)| !(is_seen && proxy.has_login()))
            .map(|(name, proxy)| (name, proxy.url()))
            .collect();
        if !variables.is_empty() && !self.direct.is_empty() {
            variables.push(("NO_PROXY", self.direct.join(",")));
        }
        variables
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

impl Via {
    /// Where it is, with the name and the password for it.
    pub(super) fn url(&self) -> Option<Url> {
        self.proxy.url().parse().ok()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {}, which {} names", self.proxy, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies::from_variables(value)
    }

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        let via = proxies.of(&url.parse().unwrap()).unwrap();
        via.map(|via| via.url().unwrap().to_string())
    }

    #[test]
    fn each_scheme_has_its_own_and_one_may_be_for_all() {
        let own = of(&[("HTTP_PROXY", "a:1"), ("https_proxy", "b:2"), ("ALL_PROXY", "c:3")]);
        assert_eq!(via(&own, "http://r.io/").unwrap(), "http://a:1/");
        assert_eq!(via(&own, "https://r.io/").unwrap(), "http://b:2/");
        let all = of(&[("HTTP_PROXY", " "), ("all_proxy", "c:3"), ("NO_PROXY", "q.io,.x.io")]);
        assert_eq!(via(&all, "http://r.io/").unwrap(), "http://c:3/");
        assert_eq!(via(&all, "https://q.io:5000/"), None);
        for url in ["http://localhost:5000/", "http://127.0.0.1/", "http://[::1]:5000/"] {
            assert_eq!(via(&all, url), None, "{url}");
        }
        assert!(via(&all, "http://10.0.0.1/").is_some());
        assert!(via(&all, "http://localhost.example/").is_some());
        assert_eq!(via(&of(&[]), "https://r.io/"), None);
        assert!(all.are_there() && !of(&[("NO_PROXY", "*")]).are_there());
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let settings = RegistrySettings {
            proxy: Some("http://u:hunter2@inside:8080".parse().unwrap()),
            no_proxy: vec!["10.0.0.0/8".to_owned()],
        };
        let proxies = of(&[("HTTPS_PROXY", "b:2"), ("NO_PROXY", "q.io")]).configured(&settings);
        assert_eq!(via(&proxies, "https://r.io/").unwrap(), "http://u:hunter2@inside:8080/");
        assert_eq!(via(&proxies, "https://q.io/"), None);
        assert_eq!(via(&proxies, "https://10.1.1.1/"), None);
        let shown = proxies.of(&"https://r.io/".parse().unwrap()).unwrap().unwrap();
        let expected = "the proxy http://inside:8080, which \"proxy\" of updaterd.toml names";
        assert_eq!(shown.to_string(), expected);
        assert!(!format!("{shown:?} {proxies:?}").contains("hunter2"));
        let kept = proxies.variables(false);
        assert!(kept.contains(&("HTTPS_PROXY", "http://u:hunter2@inside:8080".to_owned())));
        assert!(kept.contains(&("NO_PROXY", "q.io,10.0.0.0/8".to_owned())));
        assert_eq!(proxies.variables(true), []);
    }

    #[test]
    fn what_is_none_keeps_requests_back() {
        let proxies = of(&[("HTTPS_PROXY", "socks5://u:hunter2@p:1"), ("NO_PROXY", "q.io")]);
        let told = proxies.of(&"https://r.io/".parse().unwrap()).unwrap_err().to_string();
        assert!(told.starts_with("HTTPS_PROXY names a proxy of another kind"), "{told}");
        assert!(!format!("{told} {proxies:?}").contains("hunter2"));
        assert_eq!(via(&proxies, "https://q.io/"), None);
        assert_eq!(via(&proxies, "http://r.io/"), None);
        assert_eq!(proxies.variables(false), []);
    }
}
