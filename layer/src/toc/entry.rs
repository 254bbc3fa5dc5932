//! One entry of a TOC as the JSON has it (layer-formats.md, A.2), read in the way that Go's encoding/json writes it:
//! what is zero is absent, or null; unknown fields are ignored.

use std::fmt;

use base64::Engine as _;
use peel_erofs::Xattr;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::unpack::XATTRS_MAX;

/// An entry, values not yet checked.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TocEntry {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub(super) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) size: i64,
    #[serde(rename = "modtime", deserialize_with = "nullable")]
    pub(super) modification_time: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) link_name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) mode: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) uid: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) gid: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) offset: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) inner_offset: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) dev_major: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) dev_minor: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) xattrs: Xattrs,
    #[serde(deserialize_with = "nullable")]
    pub(super) digest: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) chunk_offset: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) chunk_size: i64,
    #[serde(deserialize_with = "nullable")]
    pub(super) chunk_digest: String,
    /// Empty, or the kind of a chunk that is not in the stream (containers/storage only).
    #[serde(deserialize_with = "nullable")]
    pub(super) chunk_type: String,
}

/// `null` for a zero value.
fn nullable<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// An object of names and base64 values. More than one file can have are refused while they are read.
#[derive(Debug, Default)]
pub(super) struct Xattrs(pub(super) Vec<Xattr>);

impl<'de> Deserialize<'de> for Xattrs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Xattrs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("xattrs: an object of names and base64 values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Xattrs, A::Error> {
                let mut found = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    if found.len() >= XATTRS_MAX {
                        return Err(A::Error::custom(format_args!("more than {XATTRS_MAX} xattrs")));
                    }
                    let value =
                        base64::engine::general_purpose::STANDARD
                            .decode(value.unwrap_or_default())
                            .map_err(|_| A::Error::custom(format_args!("xattr {name:?} is not base64")))?;
                    found.push(Xattr { name: name.into_bytes(), value });
                }
                Ok(Xattrs(found))
            }
        }
        from.deserialize_map(Names)
    }
}
