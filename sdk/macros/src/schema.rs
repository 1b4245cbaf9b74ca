//! `#[derive(Schema)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Lit, LitStr, Meta, Result, Type,
    Variant,
};

/// What serde's attributes, and comments, say of a type, a field or a variant.
#[derive(Default)]
struct Attributes {
    rename: Option<String>,
    rename_all: Option<String>,
    aliases: Vec<String>,
    default: bool,
    skip: bool,
    deny_unknown_fields: bool,
    transparent: bool,
    /// It is read as that type, and made of it.
    from: Option<Type>,
    description: String,
}

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a schema is of one type: no parameters",
        ));
    }
    let attributes = Attributes::read(&item.attrs)?;
    let pieces = match &item.data {
        _ if let Some(from) = &attributes.from => vec![of_type(from)],
        Data::Struct(data) => structure(&data.fields, &attributes)?,
        Data::Enum(data) => alternatives(data.variants.iter(), &attributes)?,
        Data::Union(_) => return Err(Error::new_spanned(item, "serde reads no unions")),
    };
    let name = &item.ident;
    let optional = stands_for(item, &attributes)?.map(|inner| {
        quote!(const OPTIONAL: bool = <#inner as ::cofferdam_sdk::config::Schema>::OPTIONAL;)
    });
    Ok(quote! {
        impl ::cofferdam_sdk::config::Schema for #name {
            #optional
            const SCHEMA: &'static ::cofferdam_sdk::config::schema::Piece = {
                use ::cofferdam_sdk::config::schema::Piece;
                &Piece::All(&[#(#pieces),*])
            };
        }
    })
}

/// The type that serde reads where it should read this one, also where nothing is written.
fn stands_for(item: &DeriveInput, attributes: &Attributes) -> Result<Option<Type>> {
    let fields = match &item.data {
        _ if attributes.from.is_some() => return Ok(attributes.from.clone()),
        Data::Struct(data) if attributes.transparent => &data.fields,
        _ => return Ok(None),
    };
    for field in fields {
        if !Attributes::read(&field.attrs)?.skip {
            return Ok(Some(field.ty.clone()));
        }
    }
    Ok(None)
}

/// Members of a schema, as expressions of type `&Piece`.
type Pieces = Vec<TokenStream>;

fn text(text: impl AsRef<str>) -> TokenStream {
    let text = text.as_ref();
    quote!(&Piece::Text(#text))
}

fn structure(fields: &Fields, attributes: &Attributes) -> Result<Pieces> {
    match fields {
        Fields::Named(fields) => object(fields.named.iter(), attributes),
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(fields
            .unnamed
            .iter()
            .map(|field| of_type(&field.ty))
            .collect()),
        Fields::Unnamed(fields) => {
            let mut pieces = vec![text(r#""type":"array","prefixItems":["#)];
            let (mut least, mut most) = (0, 0);
            for field in &fields.unnamed {
                let own = Attributes::read(&field.attrs)?;
                if own.skip {
                    continue;
                }
                pieces.push(text(if most == 0 { "{" } else { ",{" }));
                pieces.push(of_type(&field.ty));
                pieces.push(text("}"));
                most += 1;
                if !own.default && !attributes.default {
                    least = most;
                }
            }
            pieces.push(text(format!(r#"],"minItems":{least},"maxItems":{most}"#)));
            Ok(pieces)
        }
        Fields::Unit => Ok(vec![text(r#""type":"null""#)]),
    }
}

fn object<'a>(fields: impl Iterator<Item = &'a Field>, of: &Attributes) -> Result<Pieces> {
    let mut pieces = vec![text(r#""type":"object","properties":{"#)];
    let mut required = Vec::new();
    let mut first = true;
    for field in fields {
        let attributes = Attributes::read(&field.attrs)?;
        let Some(ident) = &field.ident else { continue };
        if attributes.skip {
            continue;
        }
        let name = of.name(&ident.unraw().to_string(), &attributes, case_of_field);
        if of.transparent {
            return Ok(vec![of_type(&field.ty)]);
        }
        for name in [&name].into_iter().chain(&attributes.aliases) {
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            pieces.push(text(format!(
                "{comma}{}:{{{}",
                quoted(name),
                attributes.described()
            )));
            pieces.push(of_type(&field.ty));
            pieces.push(text("}"));
        }
        // Of several names no one is required; that one of them is there, serde says.
        if !attributes.default && !of.default && attributes.aliases.is_empty() {
            let ty = &field.ty;
            let name = quoted(&name);
            // A comma is not known to be needed until the types before are known.
            required.push(quote!((#name, <#ty as ::cofferdam_sdk::config::Schema>::OPTIONAL)));
        }
    }
    pieces.push(text(r#"},"required":["#));
    let count = required.len();
    pieces.push(quote!({
        const FIELDS: [(&str, bool); #count] = [#(#required),*];
        &::cofferdam_sdk::config::schema::Piece::Required(&FIELDS)
    }));
    pieces.push(text(if of.deny_unknown_fields {
        r#"],"additionalProperties":false"#
    } else {
        "]"
    }));
    Ok(pieces)
}

fn alternatives<'a>(
    variants: impl Iterator<Item = &'a Variant>,
    of: &Attributes,
) -> Result<Pieces> {
    let mut names = Vec::new();
    let mut others: Vec<Pieces> = Vec::new();
    for variant in variants {
        let attributes = Attributes::read(&variant.attrs)?;
        if attributes.skip {
            continue;
        }
        let ident = variant.ident.unraw().to_string();
        let name = of.name(&ident, &attributes, case_of_variant);
        for name in [&name].into_iter().chain(&attributes.aliases) {
            let name = quoted(name);
            if matches!(variant.fields, Fields::Unit) {
                names.push(name);
                continue;
            }
            let mut pieces = vec![text(format!(
                r#"{{"type":"object","properties":{{{name}:{{{}"#,
                attributes.described()
            ))];
            pieces.extend(structure(&variant.fields, &attributes)?);
            pieces.push(text(format!(
                r#"}}}},"required":[{name}],"additionalProperties":false}}"#
            )));
            others.push(pieces);
        }
    }
    let plain = format!(r#""enum":[{}]"#, names.join(","));
    if others.is_empty() {
        return Ok(vec![text(plain)]);
    }
    let mut pieces = vec![text(r#""oneOf":["#)];
    if !names.is_empty() {
        others.insert(0, vec![text(format!("{{{plain}}}"))]);
    }
    for (index, other) in others.into_iter().enumerate() {
        pieces.extend((index > 0).then(|| text(",")));
        pieces.extend(other);
    }
    pieces.push(text("]"));
    Ok(pieces)
}

fn of_type(ty: &Type) -> TokenStream {
    quote!(<#ty as ::cofferdam_sdk::config::Schema>::SCHEMA)
}

// === impl Attributes ===

impl Attributes {
    fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut read = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| read.serde(&meta))?;
            } else if attribute.path().is_ident("doc")
                && let Meta::NameValue(doc) = &attribute.meta
                && let Expr::Lit(doc) = &doc.value
                && let Lit::Str(line) = &doc.lit
            {
                if !read.description.is_empty() {
                    read.description.push(' ');
                }
                read.description.push_str(line.value().trim());
            }
        }
        Ok(read)
    }

    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let value = || meta.value()?.parse::<LitStr>().map(|text| text.value());
        let name = meta
            .path
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        match name.as_str() {
            "rename" => self.rename = Some(value()?),
            "rename_all" => self.rename_all = Some(value()?),
            "deny_unknown_fields" => self.deny_unknown_fields = true,
            "transparent" => self.transparent = true,
            "skip" | "skip_deserializing" => self.skip = true,
            "default" => {
                self.default = true;
                if meta.input.peek(syn::Token![=]) {
                    value()?;
                }
            }
            // What of it cannot be made is told when the filter is configured.
            "from" | "try_from" => self.from = Some(syn::parse_str(&value()?)?),
            "alias" => self.aliases.push(value()?),
            "into" | "skip_serializing_if" | "serialize_with" | "bound" | "expecting" => {
                value()?;
            }
            _ => {
                let wrong =
                    "what this makes of the JSON is not known here: write `impl Schema` by hand";
                return Err(meta.error(wrong));
            }
        }
        Ok(())
    }

    /// The name in JSON of a field or a variant of this type.
    fn name(&self, rust: &str, of: &Self, case: fn(&str, &str) -> String) -> String {
        match (&of.rename, &self.rename_all) {
            (Some(name), _) => name.clone(),
            (None, Some(rule)) => case(rust, rule),
            (None, None) => rust.to_owned(),
        }
    }

    fn described(&self) -> String {
        match self.description.as_str() {
            "" => String::new(),
            text => format!(r#""description":{},"#, quoted(text)),
        }
    }
}

fn case_of_field(name: &str, rule: &str) -> String {
    // Of fields, serde leaves the underscores then.
    match rule {
        "lowercase" => return name.to_owned(),
        "UPPERCASE" => return name.to_uppercase(),
        _ => {}
    }
    words(name.split('_').map(str::to_owned).collect(), rule)
}

fn case_of_variant(name: &str, rule: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for letter in name.chars() {
        match parts.last_mut() {
            Some(part) if !letter.is_uppercase() => part.push(letter),
            _ => parts.push(letter.to_lowercase().collect()),
        }
    }
    words(parts, rule)
}

/// Words in lower case, put together by a rule of serde's.
fn words(parts: Vec<String>, rule: &str) -> String {
    let capital = |word: &String| {
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect::<String>()
    };
    match rule {
        "lowercase" => parts.concat(),
        "UPPERCASE" => parts.concat().to_uppercase(),
        "PascalCase" => parts.iter().map(capital).collect(),
        "camelCase" => {
            let rest = parts.iter().skip(1).map(capital);
            parts.first().cloned().into_iter().chain(rest).collect()
        }
        "SCREAMING_SNAKE_CASE" => parts.join("_").to_uppercase(),
        "kebab-case" => parts.join("-"),
        "SCREAMING-KEBAB-CASE" => parts.join("-").to_uppercase(),
        _ => parts.join("_"),
    }
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            letter if letter.is_control() => {
                json.push_str(&format!("\\u{:04x}", u32::from(letter)))
            }
            letter => json.push(letter),
        }
    }
    json.push('"');
    json
}
