//! The file: defaults, units, mistakes.

use super::*;

#[test]
fn empty_is_default() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn durations_have_units() {
    let config = Config::parse("[pull]\ntimeout = \"1m 30s\"\nfallback = \"never\"").unwrap();
    assert_eq!(config.pull.timeout, Duration::from_secs(90));
    assert_eq!(config.pull.fallback, Fallback::Never);
}

#[test]
fn mistakes_are_named() {
    for (text, named) in [
        ("[pull]\ntimeuot = \"1s\"", "timeuot"),
        ("[pull]\ntimeout = 60", "timeout"),
        ("[fuse]\nthreads = 0", "fuse.threads"),
        ("[pull]\nfallback = \"maybe\"", "maybe"),
        ("tree = \"ext4\"", "ext4"),
        ("[cache]\nmax_bytes = \"much\"", "max_bytes"),
        ("[cache]\nhigh_percent = 101", "cache.high_percent"),
        ("[cache]\nmax_bytes = \"1MiB\"\nmin_bytes = \"2MiB\"", "cache.min_bytes"),
        ("log = \"loud=very\"", "loud=very"),
        ("[registry]\ntrust_unbound_index = [\"app\"]", "\"app\" is neither host/repository"),
    ] {
        let error = format!("{:#}", Config::parse(text).unwrap_err());
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn watermarks_that_contradict_each_other_are_both_named() {
    for text in ["[cache]\nhigh_percent = 75", "[cache]\nlow_percent = 90", "[cache]\nlow_percent = 80"] {
        let error = format!("{:#}", Config::parse(text).unwrap_err());
        assert!(error.contains("cache.low_percent") && error.contains("cache.high_percent"), "{error}");
    }
}

#[test]
fn sizes_have_units() {
    let cache = Config::parse("[cache]\nmax_bytes = \"20GiB\"\nmin_bytes = 4096").unwrap().cache;
    assert_eq!(cache.limits().max_bytes, Some(20 << 30));
    assert_eq!(cache.limits().min_bytes, 4096);
}

#[test]
fn who_begins_after_the_kubelet_is_warned() {
    let warnings = |text: &str, kubelet| Config::parse(text).unwrap().cache.warnings(kubelet);
    assert!(warnings("", KUBELET_LOW_PERCENT).is_empty());
    assert!(
        warnings("[cache]\nhigh_percent = 81", KUBELET_LOW_PERCENT)[0].contains("cache.high_percent (81)")
    );
    assert!(!warnings("", 70).is_empty());
}

#[test]
fn a_reload_says_what_waits_for_a_restart() {
    let live = Live::new(Config::default());
    let text = "log = \"debug\"\ntree = \"fuse\"\n[pull]\ntimeout = \"5s\"\n[fuse]\nthreads = 9\n\
                [cache]\nhigh_percent = 70\nlow_percent = 60\n[fetch]\nread_timeout = \"9s\"";
    assert_eq!(live.replace(Config::parse(text).unwrap()), ["tree", "fuse"]);
    let now = live.now();
    assert_eq!((now.log.as_str(), now.pull.timeout), ("debug", Duration::from_secs(5)));
    assert_eq!((now.cache.high_percent, now.fetch.read_timeout), (70, Duration::from_secs(9)));
    assert_eq!((now.tree, &now.fuse), (Tree::Auto, &Fuse::default()));
}

#[test]
fn the_example_shows_the_defaults() {
    let example = include_str!("../../../systemd/config.toml");
    assert_eq!(Config::parse(example).unwrap(), Config::default());
    // Also with every setting in force.
    let settings = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if setting.contains(" = ") => setting,
        _ => line,
    });
    let settings = settings.collect::<Vec<_>>().join("\n");
    assert!(settings.contains("\nthreads = "));
    assert_eq!(Config::parse(&settings).unwrap(), Config::default());
}
