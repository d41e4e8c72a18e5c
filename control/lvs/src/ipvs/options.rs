//! The tables of the grammar: the names of commands and options, and which go together.

use super::popt::{Spec, Takes};

/// The command of a command line. Its name appears in error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    AddLocalAddress,
    DeleteLocalAddress,
    GetLocalAddresses,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Flush => "flush",
            Self::List => "list",
            Self::AddServer => "add-server",
            Self::DeleteServer => "delete-server",
            Self::EditServer => "edit-server",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
            Self::AddLocalAddress => "add-laddr",
            Self::DeleteLocalAddress => "del-laddr",
            Self::GetLocalAddresses => "get-laddr",
        }
    }

    /// Whether this command needs, allows or forbids an option.
    pub(super) fn rule(self, option: Opt) -> Rule {
        let (required, optional, exclusive): (&[Opt], &[Opt], &[Opt]) = match self {
            Self::AddService | Self::EditService => (&[Opt::Service], SERVICE, &[]),
            Self::DeleteService => (&[Opt::Service], &[], &[]),
            Self::AddServer | Self::EditServer => (&[Opt::Service, Opt::Server], SERVER, &[]),
            Self::DeleteServer => (&[Opt::Service, Opt::Server], &[], &[]),
            Self::List => (&[], LIST, &[Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon]),
            Self::StartDaemon => (&[], DAEMON, &[]),
            Self::StopDaemon => (&[], &[Opt::SyncId], &[]),
            Self::Save => (&[], &[Opt::Numeric], &[]),
            Self::Zero => (&[], &[Opt::Service], &[]),
            Self::GetLocalAddresses => (&[], &[Opt::Service, Opt::Numeric], &[]),
            Self::AddLocalAddress | Self::DeleteLocalAddress => {
                (&[Opt::Service, Opt::LocalAddress], &[], &[])
            }
            Self::Flush | Self::Set | Self::Restore => (&[], &[], &[]),
        };
        if required.contains(&option) {
            Rule::Required
        } else if exclusive.contains(&option) {
            Rule::Exclusive
        } else if optional.contains(&option) {
            Rule::Optional
        } else {
            Rule::Illegal
        }
    }
}

/// Whether a command needs, allows or forbids an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Required,
    Optional,
    /// Optional, but at most one of the exclusive options may be given.
    Exclusive,
    Illegal,
}

const SERVICE: &[Opt] =
    &[Opt::Scheduler, Opt::Persistent, Opt::Netmask, Opt::OnePacket, Opt::Engine, Opt::SchedFlags];
const SERVER: &[Opt] = &[
    Opt::Forward,
    Opt::Weight,
    Opt::Upper,
    Opt::Lower,
    Opt::TunType,
    Opt::TunPort,
    Opt::TunNoCsum,
    Opt::TunCsum,
    Opt::TunRemCsum,
];
const LIST: &[Opt] = &[
    Opt::Numeric,
    Opt::Stats,
    Opt::Rate,
    Opt::Thresholds,
    Opt::PersistentConn,
    Opt::NoSort,
    Opt::SyncId,
    Opt::Exact,
    Opt::TunInfo,
];
const DAEMON: &[Opt] =
    &[Opt::McastInterface, Opt::SyncId, Opt::McastGroup, Opt::McastPort, Opt::McastTtl, Opt::SyncMaxlen];

macro_rules! options {
    ($($variant:ident $name:literal,)+) => {
        /// The options, in the order in which they are checked, with their names in messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Opt {
            $($variant,)+
        }

        impl Opt {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

options! {
    Numeric "numeric",
    Connection "connection",
    Service "service-address",
    Scheduler "scheduler",
    Persistent "persistent",
    Netmask "netmask",
    Server "real-server",
    Forward "forwarding-method",
    Weight "weight",
    Upper "u-threshold",
    Lower "l-threshold",
    McastInterface "mcast-interface",
    Timeout "timeout",
    Daemon "daemon",
    Stats "stats",
    Rate "rate",
    Thresholds "thresholds",
    PersistentConn "persistent-conn",
    NoSort "nosort",
    SyncId "syncid",
    Exact "exact",
    OnePacket "ops",
    Engine "pe",
    SchedFlags "sched-flags",
    McastGroup "mcast-group",
    McastPort "mcast-port",
    McastTtl "mcast-ttl",
    SyncMaxlen "sync-maxlen",
    TunInfo "tun-info",
    TunType "tun-type",
    TunPort "tun-port",
    TunNoCsum "tun-nocsum",
    TunCsum "tun-csum",
    TunRemCsum "tun-remcsum",
    LocalAddress "local-address",
}

/// The meaning of a word on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Verb(Verb),
    Help,
    Version,
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Gatewaying,
    Ipip,
    Masquerading,
    FullNat,
    /// It changes nothing: sorting is the default.
    Sort,
    /// `-b`: FULLNAT in `-a` and `-e`, the scheduler's flags elsewhere.
    B,
    Opt(Opt),
}

/// Every word of the grammar. `-b` takes an argument except in `-a` and `-e`; see [`super::parse`].
pub(super) const WORDS: &[Spec<Token>] = &[
    Spec::new("add-service", 'A', Takes::Nothing, Token::Verb(Verb::AddService)),
    Spec::new("edit-service", 'E', Takes::Nothing, Token::Verb(Verb::EditService)),
    Spec::new("delete-service", 'D', Takes::Nothing, Token::Verb(Verb::DeleteService)),
    Spec::new("clear", 'C', Takes::Nothing, Token::Verb(Verb::Flush)),
    Spec::new("list", 'L', Takes::Nothing, Token::Verb(Verb::List)),
    Spec::new("list", 'l', Takes::Nothing, Token::Verb(Verb::List)),
    Spec::new("zero", 'Z', Takes::Nothing, Token::Verb(Verb::Zero)),
    Spec::new("add-server", 'a', Takes::Nothing, Token::Verb(Verb::AddServer)),
    Spec::new("edit-server", 'e', Takes::Nothing, Token::Verb(Verb::EditServer)),
    Spec::new("delete-server", 'd', Takes::Nothing, Token::Verb(Verb::DeleteServer)),
    Spec::new("set", NONE, Takes::Nothing, Token::Verb(Verb::Set)),
    Spec::new("start-daemon", NONE, Takes::Word, Token::Verb(Verb::StartDaemon)),
    Spec::new("stop-daemon", NONE, Takes::Word, Token::Verb(Verb::StopDaemon)),
    Spec::new("restore", 'R', Takes::Nothing, Token::Verb(Verb::Restore)),
    Spec::new("save", 'S', Takes::Nothing, Token::Verb(Verb::Save)),
    Spec::new("add-laddr", 'P', Takes::Nothing, Token::Verb(Verb::AddLocalAddress)),
    Spec::new("del-laddr", 'Q', Takes::Nothing, Token::Verb(Verb::DeleteLocalAddress)),
    Spec::new("get-laddr", 'G', Takes::Nothing, Token::Verb(Verb::GetLocalAddresses)),
    Spec::new("help", 'h', Takes::Nothing, Token::Help),
    Spec::new("version", 'v', Takes::Nothing, Token::Version),
    Spec::new("tcp-service", 't', Takes::Word, Token::Tcp),
    Spec::new("udp-service", 'u', Takes::Word, Token::Udp),
    Spec::new("sctp-service", NONE, Takes::Word, Token::Sctp),
    Spec::new("fwmark-service", 'f', Takes::Word, Token::Mark),
    Spec::new("ipv6", '6', Takes::Nothing, Token::Ipv6),
    Spec::new("scheduler", 's', Takes::Word, Token::Opt(Opt::Scheduler)),
    Spec::new("persistent", 'p', Takes::WordOrNothing, Token::Opt(Opt::Persistent)),
    Spec::new("netmask", 'M', Takes::Word, Token::Opt(Opt::Netmask)),
    Spec::new("real-server", 'r', Takes::Word, Token::Opt(Opt::Server)),
    Spec::new("masquerading", 'm', Takes::Nothing, Token::Masquerading),
    Spec::new("ipip", 'i', Takes::Nothing, Token::Ipip),
    Spec::new("gatewaying", 'g', Takes::Nothing, Token::Gatewaying),
    Spec::new("fullnat", NONE, Takes::Nothing, Token::FullNat),
    Spec::new("weight", 'w', Takes::Word, Token::Opt(Opt::Weight)),
    Spec::new("u-threshold", 'x', Takes::Word, Token::Opt(Opt::Upper)),
    Spec::new("l-threshold", 'y', Takes::Word, Token::Opt(Opt::Lower)),
    Spec::new("numeric", 'n', Takes::Nothing, Token::Opt(Opt::Numeric)),
    Spec::new("connection", 'c', Takes::Nothing, Token::Opt(Opt::Connection)),
    Spec::new("mcast-interface", NONE, Takes::Word, Token::Opt(Opt::McastInterface)),
    Spec::new("syncid", NONE, Takes::Word, Token::Opt(Opt::SyncId)),
    Spec::new("timeout", NONE, Takes::Nothing, Token::Opt(Opt::Timeout)),
    Spec::new("daemon", NONE, Takes::Nothing, Token::Opt(Opt::Daemon)),
    Spec::new("stats", NONE, Takes::Nothing, Token::Opt(Opt::Stats)),
    Spec::new("rate", NONE, Takes::Nothing, Token::Opt(Opt::Rate)),
    Spec::new("thresholds", NONE, Takes::Nothing, Token::Opt(Opt::Thresholds)),
    Spec::new("persistent-conn", NONE, Takes::Nothing, Token::Opt(Opt::PersistentConn)),
    Spec::new("nosort", NONE, Takes::Nothing, Token::Opt(Opt::NoSort)),
    Spec::new("sort", NONE, Takes::Nothing, Token::Sort),
    Spec::new("exact", 'X', Takes::Nothing, Token::Opt(Opt::Exact)),
    Spec::new("ops", 'o', Takes::Nothing, Token::Opt(Opt::OnePacket)),
    Spec::new("pe", NONE, Takes::Word, Token::Opt(Opt::Engine)),
    Spec::new("sched-flags", 'b', Takes::Word, Token::B),
    Spec::new("mcast-group", NONE, Takes::Word, Token::Opt(Opt::McastGroup)),
    Spec::new("mcast-port", NONE, Takes::Word, Token::Opt(Opt::McastPort)),
    Spec::new("mcast-ttl", NONE, Takes::Word, Token::Opt(Opt::McastTtl)),
    Spec::new("sync-maxlen", NONE, Takes::Word, Token::Opt(Opt::SyncMaxlen)),
    Spec::new("tun-info", NONE, Takes::Nothing, Token::Opt(Opt::TunInfo)),
    Spec::new("tun-type", NONE, Takes::Word, Token::Opt(Opt::TunType)),
    Spec::new("tun-port", NONE, Takes::Word, Token::Opt(Opt::TunPort)),
    Spec::new("tun-nocsum", NONE, Takes::Nothing, Token::Opt(Opt::TunNoCsum)),
    Spec::new("tun-csum", NONE, Takes::Nothing, Token::Opt(Opt::TunCsum)),
    Spec::new("tun-remcsum", NONE, Takes::Nothing, Token::Opt(Opt::TunRemCsum)),
    Spec::new("local-address", 'z', Takes::Word, Token::Opt(Opt::LocalAddress)),
];

/// No short form.
const NONE: char = '\0';
