//! `peel serve`: puts the parts together, serves, and ends.
//!
//! containerd must get an answer within a second of the start, and what is stored is all that the first answers
//! need; layers are found again behind the served socket, when somebody uses them.

mod end;
mod manager;
mod options;
mod reload;
mod watchdog;

use std::{
    env, fs,
    num::NonZeroUsize,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use peel_cache::Cache;
use peel_fetch::Fetcher;
use peel_layer::serve::LayerSource;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{self, Config, Live},
    content::ContentStore,
    control::ControlService,
    generations::{Generations, Serving},
    hold::Holder,
    layers::{
        LazyLayers,
        blobs::Blobs,
        contents::Contents,
        served::{Asked, Served},
        slots::Slots,
    },
    leases::Leases,
    lock, logging,
    metastore::{self, Metastore},
    metrics,
    mounts::{self, LayerMounts},
    numbers::Numbers,
    service::{self, SnapshotService, Socket},
    snapshots::Directories,
    sys,
};

use self::end::End;
pub use self::options::{CheckOptions, ConfigOptions, Options};

/// `peel config check`: whether the file can be used, and what in it will not do what it is probably meant to.
///
/// # Errors
/// The file cannot be read, or what is wrong in it.
pub fn check_config(options: &ConfigOptions) -> anyhow::Result<String> {
    let config = Config::load(Some(&options.config))?;
    let warnings = config.cache.warnings(options.kubelet_low_percent);
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    Ok(format!("{warnings}configuration: fine\n"))
}

/// `peel check`: what this node gets and why.
///
/// # Errors
/// The configuration is wrong, or asks for what the node cannot do.
pub fn check(options: &CheckOptions) -> anyhow::Result<String> {
    let config = Config::load(options.config.as_deref())?;
    fs::create_dir_all(&options.root).with_context(|| format!("cannot make {}", options.root.display()))?;
    let front = mounts::check::check(&config, &options.root)?;
    Ok(format!("configuration: fine\ntree: {front}\n"))
}

/// Serves until SIGTERM or SIGINT, or until something cannot be opened or fails, and ends the process.
pub async fn serve(options: Options) -> std::convert::Infallible {
    let Err(error) = serve_until_told(options).await;
    // In whatever state: requests that were taken wait for the next daemon, and are not to be dropped by a runtime
    // that comes to rest.
    tracing::error!("{error:#}");
    sys::exit_now(1)
}

/// Comes back only with an error, whose text is for the operator.
async fn serve_until_told(options: Options) -> anyhow::Result<std::convert::Infallible> {
    let config = Config::load(options.config.as_deref())?;
    logging::set(&config.log)?;
    for warning in config.cache.warnings(config::KUBELET_LOW_PERCENT) {
        tracing::warn!("{warning}");
    }
    // Before anything else: until they are handled, signals kill.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let reloads = signal(SignalKind::hangup())?;
    let root = &options.root;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(root)
        .with_context(|| format!("cannot make {}", root.display()))?;
    // Until the predecessor is surely dead, nothing of his is touched.
    let _lock = lock::lock(root).await?;
    let metastore = Arc::new(Metastore::open(&root.join(metastore::FILE))?);
    let directories = Directories::open(root).with_context(|| format!("cannot use {}", root.display()))?;

    let served = Arc::new(served(&config, root, &metastore)?);
    let check = mounts::check::check(&config, root)?;
    tracing::info!("{check}");
    let holder = options.holder.clone().or_else(|| env::var_os("PEEL_HOLDER").map(PathBuf::from));
    let holder = holder.map(|socket| Holder::at(&socket));
    let (generations, ends) = Generations::open(Serving {
        root: root.clone(),
        metastore: Arc::clone(&metastore),
        holder: holder.clone(),
        source: Arc::clone(&served) as Arc<dyn LayerSource>,
        config: fuse_config(&config, &check.front, options.assume_no_resend)?,
    })?;
    let mounts = LayerMounts::open(root, generations.mount_point(), check.front).context("layer mounts")?;
    let metrics = match config.metrics_address {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let leases = Leases::new(&config.containerd);
    let config = Live::new(config);
    let layers = LazyLayers::new(
        config.clone(),
        Arc::clone(&metastore),
        (served, Contents::load(Arc::clone(&metastore))?),
        directories.clone(),
        mounts,
    );
    let service =
        SnapshotService::new(Arc::clone(&metastore), directories, Arc::new(layers.clone()), leases)?;

    let control = options.control.clone().unwrap_or_else(|| options.address.with_file_name("control.sock"));
    // The control socket first: who finds the daemon listening for containerd may ask it for its stats.
    let control = bind(&control).await?;
    let socket = inherit_or_bind(&options.address).await?;
    let sockets = [&socket, &control].into_iter().filter(|it| it.is_own()).map(|it| it.path().to_owned());
    let served = Arc::clone(layers.served());
    let end = End { sockets: sockets.collect(), served, metastore, generations: generations.clone(), holder };
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, address = %socket.path().display(), root = %root.display(), "serving");
    tokio::spawn(keep_house(layers.clone(), config.clone(), Arc::clone(&end.metastore)));
    tokio::spawn(layers.clone().complete_for_ever());
    let numbers = Numbers::new(layers.clone(), generations.clone());
    if let Some(listener) = metrics {
        tokio::spawn(metrics::serve(listener, numbers.clone()));
    }
    let movable = layers.clone();
    tokio::spawn(generations.clone().look_after(ends, move |mount_point| movable.move_to(mount_point)));
    tokio::spawn(watchdog::feed(socket.path().to_owned(), generations.clone()));
    tokio::spawn(reload::follow(reloads, options.config.clone(), config, layers.clone()));
    manager::tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    tokio::select! {
        ended = service::serve(socket, service) => ended?,
        ended = service::serve_control(control, ControlService::new(layers, numbers)) => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    end.stop(options.unmount_on_exit.then_some(root))
}

fn fuse_config(
    config: &Config,
    front: &mounts::Front,
    assume_no_resend: bool,
) -> anyhow::Result<peel_fusefs::Config> {
    let threads = NonZeroUsize::new(config.fuse.threads).context("fuse.threads must be at least 1")?;
    let front = match front {
        mounts::Front::Erofs { .. } => peel_fusefs::Front::Data,
        mounts::Front::Fuse => peel_fusefs::Front::Trees,
    };
    Ok(peel_fusefs::Config { front, threads, assume_no_resend, ..peel_fusefs::Config::default() })
}

/// Everything that has to do with the bytes of layers.
fn served(config: &Config, root: &Path, metastore: &Arc<Metastore>) -> anyhow::Result<Served> {
    let limits = Some(config.cache.limits());
    let places = peel_cache::Config::new(root.join("index"), root.join("cache"))?;
    let cache = Arc::new(Cache::open(peel_cache::Config { limits, ..places })?);
    let handle = tokio::runtime::Handle::current();
    let fetcher = config.fetch.fetcher(config.registry.retry_after_max);
    let fetcher = Fetcher::new(fetcher, Arc::clone(&cache), handle.clone());
    let registry = registry(config)?;
    Ok(Served::new(
        Slots::load(Arc::clone(metastore))?,
        (fetcher, cache),
        Blobs::new(Arc::clone(metastore)),
        registry,
        ContentStore::new(&config.containerd),
        (handle, root.to_owned()),
    ))
}

/// How registries are asked.
fn registry(config: &Config) -> anyhow::Result<Asked> {
    let credentials = peel_registry::DockerConfig::new(config.registry.docker());
    let client = config.registry.client(config.fetch.read_timeout);
    let client = peel_registry::Client::new(client, Arc::new(credentials))?;
    Ok(Asked { client, patience: config.fetch.patience() })
}

async fn bind(path: &Path) -> anyhow::Result<Socket> {
    Socket::bind(path).await.with_context(|| format!("cannot listen at {}", path.display()))
}

/// The socket that the service manager passed, if it did.
async fn inherit_or_bind(path: &Path) -> anyhow::Result<Socket> {
    match sys::inherited_sockets().context("$LISTEN_FDS")?.pop() {
        Some(socket) => Socket::inherited(socket, path).context("cannot use the socket that was passed"),
        None => bind(path).await,
    }
}

/// What is done every few seconds, and at once when the disk is too full for a reader's chunk: unused layers, chunks and
/// memory are given back, and what is cached is made safe from a machine crash.
async fn keep_house(layers: LazyLayers, config: Live, metastore: Arc<Metastore>) {
    layers.find_leftovers().await;
    loop {
        if let Err(error) = layers.collect(None).await {
            tracing::warn!(%error, "space was not given back");
        }
        let interval = config.now().cache.interval;
        let served = Arc::clone(layers.served());
        let metastore = Arc::clone(&metastore);
        let house = move || {
            metastore.restore_reserve();
            served.keep(interval);
            sys::trim_memory();
        };
        if let Err(error) = tokio::task::spawn_blocking(house).await {
            tracing::error!(%error, "making the cache safe failed");
        }
    }
}
