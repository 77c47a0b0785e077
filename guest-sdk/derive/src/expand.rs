//! The implementation that is generated.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Data, DeriveInput, Error, Field, Fields, Result, Token, Type, Variant, parse_quote};

use crate::attributes::{Attributes, Case, Place};

/// `impl Schema` and `impl Postcard`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::of(&input.attrs, Place::Container)?;
    let name = attributes.rename.clone().unwrap_or_else(|| input.ident.unraw().to_string());
    let body = match &input.data {
        Data::Struct(data) => structure(&name, &attributes, &data.fields)?,
        Data::Enum(data) => enumeration(&name, &attributes, &data.variants)?,
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "#[derive(Schema)] is for structs and enums")),
    };

    let ident = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::wasmill_sdk::Schema));
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters ::wasmill_sdk::Schema for #ident #arguments #bounds {
            fn shape(shape: &mut ::wasmill_sdk::derive::Shape) {
                #body
            }
        }
        #[automatically_derived]
        impl #parameters ::wasmill_sdk::Postcard for #ident #arguments #bounds {}
    })
}

fn structure(name: &str, attributes: &Attributes, fields: &Fields) -> Result<TokenStream> {
    if attributes.transparent {
        let kept = kept(fields, attributes.rename_all)?;
        let [(_, only)] = kept.as_slice() else {
            return Err(Error::new_spanned(fields, "`transparent` needs exactly one field that is not skipped"));
        };
        return Ok(quote! { <#only as ::wasmill_sdk::Schema>::shape(shape) });
    }
    Ok(match fields {
        Fields::Named(_) => {
            let fields = named(fields, attributes.rename_all)?;
            quote! { shape.structure(#name, &[#fields]) }
        }
        // Serde writes a newtype struct as what it holds.
        Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => match kept(fields, None)?.as_slice() {
            [(_, only)] => quote! { <#only as ::wasmill_sdk::Schema>::shape(shape) },
            _ => return Err(Error::new_spanned(fields, "the only field can't be skipped")),
        },
        Fields::Unnamed(_) => {
            let parts = unnamed(fields)?;
            quote! { shape.tuple(&[#parts]) }
        }
        Fields::Unit => quote! { shape.plain("unit") },
    })
}

fn enumeration(name: &str, attributes: &Attributes, variants: &Punctuated<Variant, Token![,]>) -> Result<TokenStream> {
    let mut out = TokenStream::new();
    for variant in variants {
        let own = Attributes::of(&variant.attrs, Place::Variant)?;
        let ident = variant.ident.unraw().to_string();
        let name = own
            .rename
            .unwrap_or_else(|| attributes.rename_all.map_or_else(|| ident.clone(), |case| case.variant(&ident)));
        let holds = match &variant.fields {
            Fields::Unit => quote! { ::wasmill_sdk::derive::Variant::Unit },
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => match kept(&variant.fields, None)?.as_slice() {
                [(_, only)] => {
                    quote! { ::wasmill_sdk::derive::Variant::Newtype(<#only as ::wasmill_sdk::Schema>::shape) }
                }
                _ => return Err(Error::new_spanned(fields, "the only field can't be skipped")),
            },
            Fields::Unnamed(_) => {
                let parts = unnamed(&variant.fields)?;
                quote! { ::wasmill_sdk::derive::Variant::Tuple(&[#parts]) }
            }
            Fields::Named(_) => {
                let fields = named(&variant.fields, own.rename_all.or(attributes.rename_all_fields))?;
                quote! { ::wasmill_sdk::derive::Variant::Struct(&[#fields]) }
            }
        };
        out.extend(quote! { (#name, #holds), });
    }
    Ok(quote! { shape.enumeration(#name, &[#out]) })
}

/// The fields that are written, with their names.
fn kept(fields: &Fields, case: Option<Case>) -> Result<Vec<(String, &Type)>> {
    let mut out = Vec::new();
    for Field { attrs, ident, ty, .. } in fields {
        let own = Attributes::of(attrs, Place::Field)?;
        if own.skip {
            continue;
        }
        let ident = ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default();
        out.push((own.rename.unwrap_or_else(|| case.map_or_else(|| ident.clone(), |case| case.field(&ident))), ty));
    }
    Ok(out)
}

fn named(fields: &Fields, case: Option<Case>) -> Result<TokenStream> {
    Ok(kept(fields, case)?
        .into_iter()
        .map(|(name, ty)| quote! { (#name, <#ty as ::wasmill_sdk::Schema>::shape), })
        .collect())
}

fn unnamed(fields: &Fields) -> Result<TokenStream> {
    Ok(kept(fields, None)?.into_iter().map(|(_, ty)| quote! { <#ty as ::wasmill_sdk::Schema>::shape, }).collect())
}
