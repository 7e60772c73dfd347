//! `WWW-Authenticate`: what a registry asks for (RFC 9110, section 11.6.1; distribution, "Token
//! Authentication Specification").

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The longest header read, in bytes.
const MAX_HEADER: usize = 4096;

/// How a registry wants to be authenticated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: Option<String>,
}

impl Challenge {
    /// The challenge to answer among all that the headers hold: Bearer before Basic. `None` where
    /// there is neither.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut basic = false;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            for (scheme, parameters) in parse(text) {
                if scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(bearer) = Bearer::from_parameters(parameters) {
                        return Some(Self::Bearer(bearer));
                    }
                } else if scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                }
            }
        }
        basic.then_some(Self::Basic)
    }

    /// Whether both want the same at the same place, be it for different scopes.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Basic, Self::Basic) => true,
            (Self::Bearer(own), Self::Bearer(theirs)) => {
                (&own.realm, &own.service) == (&theirs.realm, &theirs.service)
            }
            _ => false,
        }
    }
}

impl Bearer {
    fn from_parameters(parameters: Vec<(String, String)>) -> Option<Self> {
        let mut bearer = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "realm" => bearer.realm = value,
                "service" => bearer.service = value,
                "scope" if !value.is_empty() => bearer.scope = Some(value),
                _ => {}
            }
        }
        (!bearer.realm.is_empty()).then_some(bearer)
    }
}

type Parameters = Vec<(String, String)>;

/// Every `scheme name=value, name="value"` of one header. Lenient: what cannot be read is passed
/// over, since the worst outcome is a request refused.
fn parse(text: &str) -> Vec<(String, Parameters)> {
    let text = if text.len() > MAX_HEADER { "" } else { text };
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else if word.is_empty() {
            return challenges;
        } else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = after;
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        Challenge::from_headers(&headers)
    }

    fn bearer(realm: &str, service: &str, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer {
            realm: realm.into(),
            service: service.into(),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#;
        let scope = Some("repository:library/nginx:pull,push");
        let expected = bearer("https://auth.docker.io/token", "registry.docker.io", scope);
        assert_eq!(challenge(&[hub]), expected);
        assert_eq!(challenge(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(challenge(&["basic"]), Some(Challenge::Basic));
        assert_eq!(
            challenge(&["bearer Realm = https://a/t , service=s"]),
            bearer("https://a/t", "s", None)
        );
    }

    #[test]
    fn prefers_bearer_among_several() {
        let expected = bearer("https://a/t", "", None);
        assert_eq!(challenge(&[r#"Basic realm="b", Bearer realm="https://a/t""#]), expected);
        assert_eq!(challenge(&["Basic realm=\"b\"", "Bearer realm=\"https://a/t\""]), expected);
        assert_eq!(challenge(&[r#"Bearer service="x", Basic realm="b""#]), Some(Challenge::Basic));
    }

    #[test]
    fn takes_nothing_from_others() {
        for value in ["", "Negotiate", "Bearer", "Bearer realm=\"\"", ",,=,", &"x".repeat(5000)] {
            assert_eq!(challenge(&[value]), None, "{value}");
        }
    }

    #[test]
    fn unescapes_quoted_strings() {
        assert_eq!(
            challenge(&[r#"Bearer realm="a\"b\\c", service="d"#]),
            bearer(r#"a"b\c"#, "d", None)
        );
    }

    proptest! {
        #[test]
        fn never_panics_nor_hangs(text in "[ -~]{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_what_is_quoted(realm in "[a-z:/.]{1,30}", service in "[ !#-\\[\\]-~]{0,30}") {
            let header = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
            prop_assert_eq!(challenge(&[&header]), bearer(&realm, &service, None));
        }
    }
}
