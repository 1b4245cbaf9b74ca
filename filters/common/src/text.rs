//! Types that are a text in the configuration, checked as it is read, so that a mistake is
//! reported with the way to its field.

/// `Deserialize` and `Schema` of a type that has `fn parse(&str) -> Result<Self, String>`.
/// The second argument is what a JSON schema says of it.
macro_rules! parsed_text {
    ($type:ty, $schema:literal) => {
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::parse(&text).map_err(::serde::de::Error::custom)
            }
        }

        impl ::cofferdam_sdk::config::Schema for $type {
            const SCHEMA: &'static ::cofferdam_sdk::config::schema::Piece =
                &::cofferdam_sdk::config::schema::Piece::Text($schema);
        }
    };
}
pub(crate) use parsed_text;
