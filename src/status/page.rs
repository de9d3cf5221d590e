//! The page for people: it needs no script, asks nobody for anything, and can be read aloud.

use super::View;
use super::chart::{chart, round_up};
use super::history::Sample;
use super::http::Content;
use super::text::Text;
use super::words::{self, Language, Words};
use crate::proxy::net::Level;
use crate::proxy::report::{Filling, Kind, Lack, Report, ServerReport};

/// Servers that have a line of their own at most; with more, those that are not well come first.
const SERVERS_MAX: usize = 64;
/// Servers that the verdict names.
const NAMED_MAX: usize = 4;

/// What is written, and in which language.
struct Page {
    out: Text,
    language: Language,
}

impl Page {
    #[inline(never)]
    fn add(&mut self, html: &str) -> &mut Self {
        self.out.add(html);
        self
    }

    #[inline(never)]
    fn say(&mut self, words: Words) -> &mut Self {
        self.out.add(self.language.say(words));
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.out.escaped(text);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.out.grouped(number);
        self
    }

    fn duration(&mut self, seconds: u64) -> &mut Self {
        self.language.duration(&mut self.out, seconds);
        self
    }

    fn bytes(&mut self, bytes: u64) -> &mut Self {
        words::bytes(&mut self.out, bytes);
        self
    }

    /// A latency, or a dash where there is none.
    #[inline(never)]
    fn latency(&mut self, us: u64) -> &mut Self {
        match us {
            0 => _ = self.out.add("–"),
            _ => words::latency(&mut self.out, us),
        }
        self
    }

    fn heading(&mut self, words: Words) -> &mut Self {
        self.add("<h2>").say(words).add("</h2>")
    }

    /// Headings of a table's columns; from the given one on they are numbers.
    fn columns(&mut self, columns: &[Words], numbers_from: usize) -> &mut Self {
        self.add("<thead><tr>");
        for (index, &words) in columns.iter().enumerate() {
            let class = if index < numbers_from { "" } else { " class=n" };
            self.add("<th scope=col").add(class).add(">").say(words).add("</th>");
        }
        self.add("</tr></thead><tbody>")
    }
}

/// The whole page.
pub fn page(view: &View<'_>, language: Language) -> Content {
    let out = Text::default();
    let mut page = Page { out, language };
    let (class, verdict) = verdict(view.report);
    page.add("<!DOCTYPE html><html lang=").add(language.tag());
    page.add("><head><meta charset=utf-8><title>")
        .say(verdict)
        .add(" – magent</title>");
    page.add("<meta name=viewport content=\"width=device-width,initial-scale=1\">");
    page.add("<meta http-equiv=refresh content=5><style>")
        .add(include_str!("style.css"));
    page.add("</style></head><body><header><h1>magent</h1><p>")
        .say(words::VERSION);
    page.add(concat!(" ", env!("CARGO_PKG_VERSION"), " · "))
        .say(words::RUNNING);
    page.add(" ").duration(view.report.uptime_s).add("</p></header><main>");
    page.add("<section class=\"verdict ")
        .add(class)
        .add("\"><h2>")
        .say(verdict)
        .add("</h2><p>");
    reason(&mut page, view.report);
    page.add("</p></section>");
    tiles(&mut page, view);
    servers(&mut page, view.report);
    charts(&mut page, view);
    latencies(&mut page, view.report);
    events(&mut page, view);
    page.add("</main><footer><p>")
        .say(words::REFRESHES)
        .add(" ")
        .say(words::ELSEWHERE);
    page.add(" <a href=\"metrics\">/metrics</a> · <a href=\"health\">/health</a> · <a href=\"ready\">/ready</a></p></footer></body></html>\n");
    Content {
        status: "200 OK",
        headers: match language {
            Language::English => HEADERS[0],
            Language::Chinese => HEADERS[1],
        },
        body: page.out.0,
    }
}

/// The only style that is let in is the page's own, by its hash: `the_page_lets_nothing_in` of tests/status.rs tells another one.
macro_rules! headers {
    ($language:literal) => {
        concat!(
            "Content-Type: text/html; charset=utf-8\r\nContent-Language: ",
            $language,
            "\r\nVary: Accept-Language\r\nReferrer-Policy: no-referrer\r\n\
             Content-Security-Policy: default-src 'none'; style-src ",
            "'sha256-BZBfAGFo39ORyWrlj8jngAhLTOSOqILx6ooz4cepOwk='; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'\r\n"
        )
    };
}

const HEADERS: [&str; 2] = [headers!("en"), headers!("zh-CN")];

/// In one word how it is, and its class.
fn verdict(report: &Report<'_>) -> (&'static str, Words) {
    let is_well = |server: &ServerReport<'_>| server.is_up && server.lacks == Lack::Nothing;
    match report {
        _ if report.is_leaving => ("warn", words::LEAVING),
        _ if !report.lost.is_empty() => ("bad", words::LOST),
        _ if report.is_starting => ("warn", words::STARTING),
        _ if !report.servers.iter().all(is_well) => ("warn", words::ONE_COPY),
        _ => ("good", words::HEALTHY),
    }
}

/// What stands behind it.
fn reason(page: &mut Page, report: &Report<'_>) {
    let (_, verdict) = verdict(report);
    let why = match verdict {
        words::LEAVING => words::LEAVING_WHY,
        words::STARTING => words::STARTING_WHY,
        words::LOST => words::NOT_SERVED,
        words::ONE_COPY => words::STILL_SERVED,
        _ if report.has_backups => words::ALL_COPIES,
        _ => words::NO_BACKUPS,
    };
    page.say(why);
    if why != words::NOT_SERVED && why != words::STILL_SERVED {
        return;
    }
    let is_named = |server: &&ServerReport<'_>| match why {
        words::NOT_SERVED => !server.is_up,
        _ => !server.is_up || server.lacks != Lack::Nothing,
    };
    let named = report.servers.iter().filter(is_named);
    for (index, server) in named.enumerate() {
        if index > 0 {
            page.say(words::COMMA);
        }
        if index == NAMED_MAX {
            page.add("…");
            break;
        }
        page.text(&server.name);
    }
    page.say(words::STOP);
}

/// The numbers that one looks at first.
fn tiles(page: &mut Page, view: &View<'_>) {
    let report = view.report;
    fn tile(page: &mut Page, name: Words) -> &mut Page {
        page.add("<div class=card><dt>").say(name).add("</dt><dd>")
    }
    page.add("<dl>");
    tile(page, words::REQUESTS);
    match view.history.latest() {
        Some(sample) => page.number(sample.requests_per_s),
        None => page.add("–"),
    };
    tile(page.add("</dd></div>"), words::HIT_RATE);
    match view.history.hits_per_mille() {
        Some(per_mille) => _ = page.out.fraction(per_mille, 1).add(" %"),
        None => _ = page.add("–"),
    }
    tile(page.add("</dd></div>"), words::CLIENTS).number(report.clients as u64);
    page.add(" <small>").say(words::OF).number(report.clients_max as u64);
    tile(page.add("</small></dd></div>"), words::MEMORY).bytes(report.memory as u64);
    page.add(" <small>")
        .say(words::OF)
        .bytes(report.memory_max as u64)
        .add("</small>");
    let label = page.language.say(words::MEMORY);
    progress(page, report.memory as u64, report.memory_max as u64, label);
    tile(page.add("</dd></div>"), words::OTHERS).number(report.other_magents as u64);
    page.add("</dd></div></dl>");
}

fn progress(page: &mut Page, value: u64, most: u64, label: &str) {
    page.add("<progress max=").out.number(most.max(1));
    page.add(" value=").out.number(value.min(most));
    page.add(" aria-label=\"").text(label).add("\"></progress>");
}

fn servers(page: &mut Page, report: &Report<'_>) {
    let mut servers: Vec<&ServerReport<'_>> = report.servers.iter().collect();
    if servers.len() > SERVERS_MAX {
        servers.sort_by_key(|server| server.state == "up");
        servers.truncate(SERVERS_MAX);
    }
    let label = page.language.say(words::SERVERS);
    page.heading(words::SERVERS)
        .add("<div class=\"card scroll\" role=region tabindex=0 aria-label=\"")
        .add(label);
    page.add("\"><table class=servers role=table>");
    page.columns(
        &[
            words::SERVER,
            words::STATE,
            words::LACKS,
            words::ASKED,
            words::ANSWERS,
            words::TROUBLE,
        ],
        3,
    );
    for server in &servers {
        row(page, server);
    }
    page.add("</tbody></table>");
    let more = report.servers.len() - servers.len();
    if more > 0 {
        page.add("<p class=none>")
            .number(more as u64)
            .say(words::MORE_SERVERS)
            .add("</p>");
    }
    page.add("</div>");
}

fn row(page: &mut Page, server: &ServerReport<'_>) {
    let role = match (server.is_primary, server.is_backup) {
        (true, true) => words::BOTH,
        (true, false) => words::PRIMARY,
        _ => words::BACKUP,
    };
    let (class, state) = match server.state {
        _ if server.filling.is_some() => ("warn", words::FILLING),
        "up" => ("good", words::UP),
        "down" => ("bad", words::DOWN),
        "rejoining" => ("warn", words::REJOINING),
        _ if server.lacks == Lack::Nothing => ("good", words::SETTLING),
        _ => ("warn", words::COLD),
    };
    page.add("<tr role=row><th scope=row role=rowheader>")
        .text(&server.name)
        .add("<small>")
        .say(role);
    page.add("</small></th><td role=cell><span class=\"state ")
        .add(class)
        .add("\">")
        .say(state);
    page.add("</span><small class=soft>")
        .say(words::FOR)
        .duration(server.for_s)
        .add("</small></td><td role=cell class=fill data-name=\"")
        .say(words::LACKS)
        .add("\">");
    match (&server.filling, server.lacks) {
        (Some(filling), _) => fill(page, &server.name, filling),
        (None, Lack::Items) => _ = page.say(words::UNKNOWN),
        (None, Lack::Keys(count)) => _ = page.number(count as u64).say(words::KEYS),
        (None, Lack::Nothing) if server.is_up => _ = page.say(words::NOTHING),
        (None, Lack::Nothing) => _ = page.add("–"),
    }
    if server.missed > 0 && !server.is_up {
        page.add("<small class=soft>")
            .number(server.missed)
            .say(words::MISSED)
            .add("</small>");
    }
    let counters = server.counters;
    number_cell(page, words::ASKED).number(counters.requests);
    number_cell(page, words::ANSWERS).latency(server.answered.per_mille_us(500));
    page.add(" / ").latency(server.answered.per_mille_us(990));
    number_cell(page, words::TROUBLE)
        .number(counters.errors)
        .add(" / ")
        .number(counters.timeouts);
    page.add(" / ").number(counters.failures).add("</td></tr>");
}

/// Begins the next cell; where there is no room for columns it says what it is.
fn number_cell(page: &mut Page, name: Words) -> &mut Page {
    page.add("</td><td role=cell class=n data-name=\"").say(name).add("\">")
}

/// How far a server has been filled, and how fast it is.
fn fill(page: &mut Page, name: &str, filling: &Filling) {
    let (report, done) = (filling.progress.report, filling.progress.done);
    match filling.progress.total.filter(|total| *total > 0) {
        Some(total) => {
            let done = done.min(total);
            page.number(done * 100 / total)
                .add(" % <span class=soft>")
                .say(words::OF)
                .number(total);
            page.say(words::KEYS).add("</span>");
            progress(page, done, total, name);
        }
        // A bar without a value is one of which nothing is known.
        None => _ = page.add("<progress aria-label=\"").text(name).add("\"></progress>"),
    }
    let each_second = |count: u64| count * 1000 / report.took_ms.max(1);
    page.add("<small class=soft>")
        .number(report.items)
        .say(words::ITEMS)
        .add(", ")
        .bytes(report.bytes);
    page.add(" · ")
        .number(each_second(report.items))
        .say(words::ITEMS_EACH_SECOND)
        .add(", ");
    page.bytes(each_second(report.bytes))
        .add("/s</small><small class=soft>")
        .say(words::FROM)
        .text(&filling.from);
    if let Some(left) = filling
        .progress
        .total
        .and_then(|total| total.checked_sub(done))
        .filter(|_| done > 0)
    {
        page.say(words::LEFT_BEFORE)
            .duration(left * report.took_ms / done / 1000 + 1)
            .say(words::LEFT_BEHIND);
    }
    page.add("</small>");
}

fn charts(page: &mut Page, view: &View<'_>) {
    let values = |of: fn(&Sample) -> u64| view.history.samples().map(of).collect::<Vec<u64>>();
    page.heading(words::CHARTS);
    if view.history.latest().is_none() {
        page.add("<p class=\"card none soft\">")
            .say(words::NO_SAMPLES)
            .add("</p>");
        return;
    }
    page.add("<div class=charts>");
    requests_chart(page, &values(|sample| sample.requests_per_s));
    latency_chart(page, &values(|sample| sample.p50_us), &values(|sample| sample.p99_us));
    page.add("</div>");
}

/// What a curve shows, in words, up to its numbers.
fn shown(language: Language, what: Words) -> Text {
    let mut label = Text::default();
    label
        .add(language.say(what))
        .add(", ")
        .add(language.say(words::CHARTS))
        .add(": ");
    label
}

fn requests_chart(page: &mut Page, requests: &[u64]) {
    let (most, language) = (largest(requests), page.language);
    page.add("<figure class=card><figcaption><h3>").say(words::REQUESTS);
    page.add("</h3><span class=soft>")
        .say(words::AT_MOST)
        .number(most)
        .add("</span></figcaption>");
    let mut label = shown(language, words::REQUESTS);
    label
        .add(language.say(words::AT_MOST))
        .grouped(most)
        .add(", ")
        .add(language.say(words::JUST_NOW))
        .add(" ");
    label.grouped(last(requests));
    page.add("<div class=axis>").number(round_up(most)).add("</div>");
    chart(&mut page.out, &label.0, &[("area", requests)], round_up(most));
    time_axis(page);
}

fn latency_chart(page: &mut Page, p50: &[u64], p99: &[u64]) {
    let (most, language) = (largest(p99), page.language);
    // Where there is nothing to be shown there is no scale either.
    let scale = if most == 0 { 0 } else { round_up(most) };
    page.add("<figure class=card><figcaption><h3>").say(words::LATENCY);
    page.add("</h3><span class=soft><span class=key>p50</span> ")
        .latency(last(p50));
    page.add(" · <span class=\"key late\">p99</span> ").latency(last(p99));
    page.add(" · ")
        .say(words::AT_MOST)
        .latency(most)
        .add("</span></figcaption>");
    let mut label = shown(language, words::LATENCY);
    label.add("p99 ").add(language.say(words::AT_MOST));
    words::latency(&mut label, most);
    page.add("<div class=axis>").latency(scale).add("</div>");
    let curves = [("p50", p50), ("p99", p99)];
    chart(
        &mut page.out,
        &label.0,
        &curves[..if most == 0 { 0 } else { 2 }],
        round_up(most),
    );
    time_axis(page);
}

fn largest(values: &[u64]) -> u64 {
    values.iter().copied().max().unwrap_or(0)
}

fn last(values: &[u64]) -> u64 {
    values.last().copied().unwrap_or(0)
}

fn time_axis(page: &mut Page) {
    page.add("<div class=axis><span>")
        .say(words::BEFORE)
        .add("</span><span>")
        .say(words::JUST_NOW);
    page.add("</span></div></figure>");
}

fn latencies(page: &mut Page, report: &Report<'_>) {
    page.heading(words::BY_COMMAND)
        .add("<div class=\"card scroll\"><table><caption>")
        .say(words::SINCE_START)
        .add("</caption>");
    let columns = [words::KIND, words::ASKED, ["p50"; 2], ["p99"; 2], words::LONGEST];
    page.columns(&columns, 1);
    for kind in Kind::ALL {
        let histogram = report.latencies.of(kind);
        page.add("<tr><th scope=row>")
            .add(kind.name())
            .add("</th><td class=n>")
            .number(histogram.count());
        for us in [
            histogram.per_mille_us(500),
            histogram.per_mille_us(990),
            histogram.max_us(),
        ] {
            page.add("</td><td class=n>").latency(us);
        }
        page.add("</td></tr>");
    }
    page.add("</tbody></table></div>");
}

fn events(page: &mut Page, view: &View<'_>) {
    page.heading(words::EVENTS);
    let mut events = view.events.latest_first().peekable();
    if events.peek().is_none() {
        page.add("<p class=\"card none soft\">")
            .say(words::NO_EVENTS)
            .add("</p>");
        return;
    }
    page.add("<ol class=card>");
    for event in events {
        let (class, level) = match event.level {
            Level::Error => ("bad", words::ERROR),
            Level::Warning => ("warn", words::WARNING),
            _ => ("soft", words::NOTICE),
        };
        page.add("<li><time>")
            .text(&event.time)
            .add("</time><b class=")
            .add(class)
            .add(">")
            .say(level);
        page.add("</b><span lang=en>").text(&event.line).add("</span></li>");
    }
    page.add("</ol>");
}

#[cfg(test)]
mod tests;
