//! `#[derive(Schema)]` of `wasmill-sdk`: describes a type's postcard bytes from its definition and its serde attributes.
//!
//! The description must agree with what serde's derive writes, so every serde attribute is either understood, known to have no effect on the bytes, or refused.

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Implements `wasmill_sdk::Schema` for a struct or enum that derives `Serialize` or `Deserialize`, and marks it as postcard.
///
/// Understands `#[serde(rename)]`, `#[serde(rename_all)]`, `#[serde(skip)]` and `#[serde(transparent)]`, and refuses what postcard can't do: `flatten`, `untagged`, `tag`,
/// `skip_serializing_if` and the like.
#[proc_macro_derive(Schema, attributes(serde))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}
