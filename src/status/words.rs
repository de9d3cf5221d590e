//! What the page says, in English and in Chinese.

use super::text::Text;

/// In which language a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English = 0,
    Chinese = 1,
}

/// The same in both.
pub type Words = [&'static str; 2];

impl Language {
    /// The one of the two that an `Accept-Language` (RFC 9110, 12.5.4) likes better; English where it says nothing of them.
    pub fn wanted(header: &[u8]) -> Self {
        let (mut best, mut chosen) = (0, Language::English);
        for range in header.split(|&byte| byte == b',') {
            let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let tag = parts.next().unwrap_or_default();
            let language = match tag.split(|&byte| byte == b'-').next() {
                Some(tag) if tag.eq_ignore_ascii_case(b"en") => Language::English,
                Some(tag) if tag.eq_ignore_ascii_case(b"zh") => Language::Chinese,
                _ => continue,
            };
            let quality = parts.next().map_or(1000, per_mille);
            if quality > best {
                (best, chosen) = (quality, language);
            }
        }
        chosen
    }

    /// For the attribute of that name.
    pub fn tag(self) -> &'static str {
        ["en", "zh-CN"][self as usize]
    }

    pub fn say(self, words: Words) -> &'static str {
        words[self as usize]
    }

    /// How long something has lasted, to two units at most.
    #[inline(never)]
    pub fn duration(self, out: &mut Text, seconds: u64) {
        const UNITS: [(u64, Words); 4] = [
            (86_400, [" d", " 天"]),
            (3600, [" h", " 小时"]),
            (60, [" min", " 分钟"]),
            (1, [" s", " 秒"]),
        ];
        let largest = UNITS
            .iter()
            .position(|(unit, _)| seconds >= *unit)
            .unwrap_or(UNITS.len() - 1);
        let (unit, words) = UNITS[largest];
        out.number(seconds / unit).add(self.say(words));
        let rest = seconds % unit;
        // Of days and hours the next unit, too.
        if let Some((unit, words)) = UNITS.get(largest + 1).filter(|_| largest < 2) {
            if rest >= *unit {
                out.add(" ").number(rest / unit).add(self.say(*words));
            }
        }
    }
}

/// `q=0.7` as 700; what is none counts as not wanted.
fn per_mille(weight: &[u8]) -> u32 {
    let Some(digits) = weight.strip_prefix(b"q=").or(weight.strip_prefix(b"Q=")) else {
        return 0;
    };
    let (mut value, mut unit) = (0, 1000);
    for &byte in digits.iter().filter(|&&byte| byte != b'.') {
        if !byte.is_ascii_digit() {
            return 0;
        }
        value += u32::from(byte - b'0') * unit;
        unit /= 10;
    }
    value.min(1000)
}

/// What takes so many microseconds, to two or three digits.
#[inline(never)]
pub fn latency(out: &mut Text, us: u64) {
    match us {
        0..1000 => out.number(us).add(" µs"),
        1000..10_000 => out.fraction(us / 100, 1).add(" ms"),
        10_000..1_000_000 => out.number(us / 1000).add(" ms"),
        _ => out.fraction(us / 10_000, 2).add(" s"),
    };
}

/// A number of bytes, to a tenth of its unit.
#[inline(never)]
pub fn bytes(out: &mut Text, bytes: u64) {
    const UNITS: [(u32, &str); 4] = [(40, " TiB"), (30, " GiB"), (20, " MiB"), (10, " KiB")];
    match UNITS.iter().find(|(bits, _)| bytes >= 1 << bits) {
        None => out.number(bytes).add(" B"),
        Some((bits, unit)) => out.fraction(((bytes >> (bits - 10)) * 10) >> 10, 1).add(unit),
    };
}

macro_rules! words {
    ($($name:ident = $english:literal, $chinese:literal;)*) => {
        $(pub const $name: Words = [$english, $chinese];)*
    };
}

words! {
    HEALTHY = "Healthy", "正常";
    ONE_COPY = "Some keys have one copy only", "部分键只有一个副本";
    LOST = "Keys without a live copy", "有的键没有可用的副本";
    STARTING = "Starting", "正在启动";
    LEAVING = "Ending", "正在结束";
    ALL_COPIES = "Every key has both its copies.", "每个键的两个副本都可用。";
    NO_BACKUPS = "Every server is up. Keys without a backup have one copy.", "所有服务器都正常。没有备份服务器的键只有一个副本。";
    STILL_SERVED = "Every key is served. Not up, or not complete yet: ", "所有键都可以访问。失效或数据尚不完整的服务器：";
    NOT_SERVED = "Requests for these keys are answered with an error. Not up: ", "对这些键的请求会得到错误。失效的服务器：";
    COMMA = ", ", "、";
    STOP = ".", "。";
    STARTING_WHY = "It is not known yet what the servers hold; clients wait.", "尚未得知各服务器存有什么；客户端在等待。";
    LEAVING_WHY = "magent was told to end: what clients have asked is still answered.", "magent 已收到结束的指令：已收到的请求仍会得到应答。";
    VERSION = "version", "版本";
    RUNNING = "running for", "已运行";
    REQUESTS = "Requests a second", "每秒请求数";
    HIT_RATE = "Hit rate, ten minutes", "命中率（十分钟）";
    CLIENTS = "Clients", "客户端";
    MEMORY = "Memory of buffers", "缓冲区内存";
    OTHERS = "Other magents", "其他 magent";
    OF = " of ", " / ";
    SERVERS = "Servers", "服务器";
    SERVER = "Server", "服务器";
    STATE = "State", "状态";
    LACKS = "Still lacks", "尚缺";
    ASKED = "Requests", "请求数";
    ANSWERS = "Answers, p50 / p99", "应答时间 p50 / p99";
    TROUBLE = "Errors / timeouts / failures", "错误 / 超时 / 故障";
    PRIMARY = "primary", "主服务器";
    BACKUP = "backup", "备份服务器";
    BOTH = "primary and backup", "主服务器兼备份";
    UP = "up", "正常";
    DOWN = "down", "失效";
    REJOINING = "returning", "正在恢复";
    FILLING = "being filled", "正在回填";
    COLD = "up, not complete", "正常，数据不全";
    SETTLING = "up, being checked", "正常，正在核对";
    FOR = "for ", "已持续 ";
    LEFT_BEFORE = "; about ", "；大约还需 ";
    LEFT_BEHIND = " left", "";
    NOTHING = "nothing", "无";
    KEYS = " keys", " 个键";
    UNKNOWN = "what its partner has", "对端所有的数据";
    FROM = "from ", "来源 ";
    ITEMS = " items", " 项";
    ITEMS_EACH_SECOND = " items/s", " 项/秒";
    MISSED = " writes missed so far", " 次写入未到达";
    MORE_SERVERS = " servers more: see /metrics", " 台服务器未列出：见 /metrics";
    CHARTS = "The last ten minutes", "最近十分钟";
    LATENCY = "Latency", "延迟";
    BEFORE = "10 min ago", "10 分钟前";
    JUST_NOW = "now", "现在";
    AT_MOST = "at most ", "最高 ";
    NO_SAMPLES = "The first sample comes in a few seconds.", "几秒钟后将有第一个采样。";
    SINCE_START = "What clients waited, since the start or stats reset", "客户端的等待时间（自启动或 stats reset 起）";
    BY_COMMAND = "Latency by command", "各命令的延迟";
    KIND = "Command", "命令";
    LONGEST = "longest", "最长";
    EVENTS = "Last events", "最近的事件";
    NO_EVENTS = "Nothing has been logged yet.", "日志中尚无内容。";
    ERROR = "error", "错误";
    WARNING = "warning", "警告";
    NOTICE = "notice", "通知";
    ELSEWHERE = "For machines:", "供程序读取：";
    REFRESHES = "This page refreshes itself every five seconds.", "本页每五秒自动刷新。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_what_the_browser_likes_better() {
        for (header, language) in [
            ("", Language::English),
            ("fr", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", Language::English),
            ("fr, ZH;q=0.5", Language::Chinese),
            ("en;q=0.4, zh-TW;q=0.41", Language::Chinese),
            ("zh;q=0, en;q=0.1", Language::English),
            ("zh;q=x", Language::English),
        ] {
            assert_eq!(Language::wanted(header.as_bytes()), language, "{header}");
        }
    }

    #[test]
    fn amounts_are_told_in_units_that_one_can_read() {
        let written = |write: &dyn Fn(&mut Text)| {
            let mut text = Text::default();
            write(&mut text);
            text.0
        };
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (119, "1 min"),
            (3600, "1 h"),
            (3725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(written(&|text| Language::English.duration(text, seconds)), expected);
        }
        for (us, expected) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1250, "1.2 ms"),
            (45_678, "45 ms"),
            (1_250_000, "1.25 s"),
        ] {
            assert_eq!(written(&|text| latency(text, us)), expected);
        }
        for (size, expected) in [(0, "0 B"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (5 << 30, "5 GiB")] {
            assert_eq!(written(&|text| bytes(text, size)), expected);
        }
    }
}
