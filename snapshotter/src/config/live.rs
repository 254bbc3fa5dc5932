//! The configuration of now: a reload replaces it, and what asks it anew each time follows.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Config;

/// Shared by all parts that follow a reload. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<RwLock<Arc<Config>>>);

impl Live {
    /// With what was read at start.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// As it is now. Not to be kept: it does not change.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read())
    }

    /// What holds from now on. What only a restart can change stays as it was; the keys or sections in question are
    /// given back.
    #[must_use]
    pub fn replace(&self, new: Config) -> Vec<&'static str> {
        let mut current = self.0.write();
        let old = Arc::clone(&current);
        let (mut next, mut waiting) = (new, Vec::new());
        macro_rules! restart {
            ($($key:ident),*) => {
                $(if next.$key != old.$key {
                    waiting.push(stringify!($key));
                    next.$key = Clone::clone(&old.$key);
                })*
            };
        }
        restart!(tree, erofs_backing, metrics_address, containerd, fuse);
        *current = Arc::new(next);
        waiting
    }
}
