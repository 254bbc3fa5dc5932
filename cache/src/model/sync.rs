//! The model checker's locks and atomics, with the interface of [`crate::sync`].

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// As parking_lot's: a panic does not poison it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As parking_lot's: a panic does not poison it.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Others may come in between.
pub(crate) fn slow() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// Time is nothing to the model: others go on.
pub(crate) fn pause(_: Duration) {
    shuttle::thread::yield_now();
}
