//! A real node: systemd as process 1, the units of `make install`, containerd from Debian.
//!
//! ```text
//! cargo test -p peel-integration --test systemd_node    # as root, on Debian 12, with peel built
//! ```
//!
//! ```text
//!  systemd-nspawn ── peel.socket ▸ peel.service ◂ peel-hold.service
//!    (host's network)   ▲                          containerd.service ── pods that read
//!                       └── all that an operator, or a crash, may do to them
//! ```

mod gone;
mod ground;
mod life;
mod machine;
mod reboot;
mod root;
mod units;
