//! The client against servers that keep, bend and break the rules of HTTP.

mod auth;
mod blob;
mod faults;
mod proxy;
mod redirects;
mod referrers;
mod support;
mod tls;
