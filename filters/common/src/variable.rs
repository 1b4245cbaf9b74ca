//! Values of a request by name, as templates and keys use them.

use std::net::SocketAddr;

use cofferdam_sdk::query::Query;
use cofferdam_sdk::{Headers, MapType, cookie, property};

use crate::text::parsed_text;

/// Values that were read while the request was there. Once it is forwarded, neither its
/// headers nor what is made of them can be asked for in Envoy.
#[derive(Debug, Default)]
pub struct Captured<'a>(Vec<(&'a Variable, Option<Vec<u8>>)>);

/// Where a value comes from.
///
/// | written | is |
/// |---|---|
/// | `header.NAME`, `cookie.NAME`, `query.NAME` | of the request; the first of that name |
/// | `host`, `method`, `scheme`, `path` | of the request; `path` without the query |
/// | `response.NAME`, `status` | of the response, once there is one |
/// | `ip` | the client's address, without the port |
/// | `route`, `cluster`, `request_id` | as the proxy names them |
/// | `consumer` | who it is, as a filter in front of this one has found out |
/// | `property.A/B` | any property of the proxy that is a text |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// The first request header of that name.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
    /// The first response header of that name.
    Response(String),
    /// The path without its query.
    Path,
    /// The client's address.
    Ip,
    /// A property.
    Property(Vec<String>),
}

parsed_text!(Variable, r#""type":"string","minLength":1"#);

// === impl Variable ===

impl Variable {
    /// From its name.
    ///
    /// # Errors
    /// That there is no such variable.
    pub fn parse(text: &str) -> Result<Self, String> {
        let header = |name: &str| Self::Header(name.to_owned());
        let property =
            |path: &[&str]| Self::Property(path.iter().map(|part| (*part).to_owned()).collect());
        Ok(match text {
            "host" => header(":authority"),
            "method" => header(":method"),
            "scheme" => header(":scheme"),
            "path" => Self::Path,
            "status" => Self::Response(":status".to_owned()),
            "ip" => Self::Ip,
            "route" => property(&["xds", "route_name"]),
            "cluster" => property(&["xds", "cluster_name"]),
            "request_id" => property(&["request", "id"]),
            "consumer" => property(&["consumer"]),
            _ => match text.split_once('.') {
                Some((_, "")) | None => return Err(format!("no such variable: `{text}`")),
                Some(("header", name)) => Self::Header(name.to_ascii_lowercase()),
                Some(("response", name)) => Self::Response(name.to_ascii_lowercase()),
                Some(("cookie", name)) => Self::Cookie(name.to_owned()),
                Some(("query", name)) => Self::Query(name.to_owned()),
                Some(("property", path)) => property(&path.split('/').collect::<Vec<_>>()),
                Some(_) => return Err(format!("no such variable: `{text}`")),
            },
        })
    }

    /// Whether it is to be captured for later.
    const fn is_of_request(&self) -> bool {
        matches!(
            self,
            Self::Header(_) | Self::Cookie(_) | Self::Query(_) | Self::Path
        )
    }

    /// Its value now; `None` where there is none.
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        let request = Headers::of(MapType::RequestHeaders);
        let value = match self {
            Self::Header(name) => request.get(name)?,
            Self::Response(name) => Headers::of(MapType::ResponseHeaders).get(name)?,
            Self::Cookie(name) => cookie::find(&request, name)?,
            Self::Query(name) => {
                let path = request.get(":path")?;
                return Query::of_path(path.as_bytes())
                    .get(name)
                    .map(|value| value.into());
            }
            Self::Path => {
                let mut path = request.get(":path")?.into_bytes();
                let query = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
                path.truncate(query.unwrap_or(path.len()));
                return Some(path);
            }
            Self::Ip => {
                let ip = property::source().as_ref().map(SocketAddr::ip)?;
                return Some(ip.to_string().into_bytes());
            }
            Self::Property(path) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                property::text(&path)?
            }
        };
        Some(value.into_bytes())
    }
}

// === impl Captured ===

impl<'a> Captured<'a> {
    /// Reads those of the variables that are the request's.
    pub fn capture(&mut self, variables: impl Iterator<Item = &'a Variable>) {
        for variable in variables.filter(|variable| variable.is_of_request()) {
            if !self.0.iter().any(|(known, _)| *known == variable) {
                self.0.push((variable, variable.value()));
            }
        }
    }

    /// The variable's value then, or else now.
    pub(crate) fn value(&self, variable: &Variable) -> Option<Vec<u8>> {
        let captured = self.0.iter().find(|(known, _)| *known == variable);
        captured.map_or_else(|| variable.value(), |(_, value)| value.clone())
    }
}
