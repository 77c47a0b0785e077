//! Serde attributes: what they mean for the bytes.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, LitStr, Result, Token};

/// The attributes of a type, variant or field that matter here.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) skip: bool,
    pub(crate) transparent: bool,
}

/// Where attributes stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Container,
    Variant,
    Field,
}

impl Attributes {
    pub(crate) fn of(attributes: &[Attribute], place: Place) -> Result<Self> {
        let mut out = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| out.take(&meta, place))?;
        }
        Ok(out)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>, place: Place) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let refuse = |why: &str| {
            Err(meta.error(format!(
                "#[derive(Schema)] can't do `{name}`: {why}; use Json<T> instead, which needs no Schema"
            )))
        };
        match name.as_str() {
            "rename" => self.rename = Some(text(meta)?.value()),
            "rename_all" => self.rename_all = Some(Case::of(&text(meta)?)?),
            "rename_all_fields" => self.rename_all_fields = Some(Case::of(&text(meta)?)?),
            "skip" if place == Place::Field => self.skip = true,
            "transparent" => self.transparent = true,
            "flatten" | "untagged" | "tag" | "content" | "other" => {
                return refuse("postcard writes neither field names nor tags");
            }
            "skip_serializing_if" | "skip_serializing" | "skip_deserializing" | "skip" => {
                return refuse("postcard knows a field by its place, so what is written must be read, always");
            }
            "with" | "serialize_with" | "deserialize_with" | "getter" | "from" | "into" | "try_from" | "remote"
            | "variant_identifier" | "field_identifier" => {
                return refuse("it does not see what bytes come of it");
            }
            // No effect on what postcard writes.
            "alias" | "borrow" | "bound" | "crate" | "default" | "deny_unknown_fields" | "expecting" => ignore(meta)?,
            _ => return refuse("it does not know this attribute"),
        }
        Ok(())
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    if !meta.input.peek(Token![=]) {
        return Err(meta.error("#[derive(Schema)] needs one name for writing and reading: `= \"…\"`"));
    }
    meta.value()?.parse()
}

fn ignore(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<syn::Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        content.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}

/// Serde's renaming rules.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    fn of(name: &LitStr) -> Result<Self> {
        Ok(match name.value().as_str() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(syn::Error::new(name.span(), "serde has no such rule")),
        })
    }

    /// A variant, `LikeThis`.
    pub(crate) fn variant(self, name: &str) -> String {
        match self {
            Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => lower_first(name),
            Self::Snake => {
                let mut out = String::new();
                for (at, character) in name.char_indices() {
                    if at > 0 && character.is_uppercase() {
                        out.push('_');
                    }
                    out.push(character.to_ascii_lowercase());
                }
                out
            }
            Self::ScreamingSnake => Self::Snake.variant(name).to_ascii_uppercase(),
            Self::Kebab => Self::Snake.variant(name).replace('_', "-"),
            Self::ScreamingKebab => Self::ScreamingSnake.variant(name).replace('_', "-"),
        }
    }

    /// A field, `like_this`.
    pub(crate) fn field(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Pascal => name.split('_').map(upper_first).collect(),
            Self::Camel => lower_first(&Self::Pascal.field(name)),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

fn upper_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + characters.as_str())
}
