//! What the plugins give that read JSON lines, from their texts.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Value, json};

use super::splitmix64;

fn documents(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("the input is JSON"))
}

fn text<'a>(document: &'a Value, name: &str) -> &'a str {
    document[name].as_str().expect("the member is a text")
}

fn number(document: &Value, name: &str) -> u64 {
    document[name].as_u64().expect("the member is a number")
}

fn sorted(documents: Vec<Value>) -> Vec<String> {
    let mut lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    lines.sort_unstable();
    lines
}

/// What `ad-clicks` gives, sorted.
pub(crate) fn rate_lines(events: &str) -> Vec<String> {
    let mut tallies: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut out = Vec::new();
    let rate = |ad: &str, (impressions, clicks): (u64, u64)| {
        // In hundredths of a percent, to the nearest.
        let hundredths = (clicks * 20_000 + impressions).checked_div(2 * impressions);
        let percent = hundredths.map(|hundredths| hundredths as f64 / 100.0);
        json!({ "ad": ad, "impressions": impressions, "clicks": clicks, "percent": percent })
    };
    for event in documents(events) {
        let tally = tallies.entry(text(&event, "ad").to_owned()).or_default();
        match text(&event, "event") {
            "impression" => tally.0 += 1,
            _ => {
                tally.1 += 1;
                out.push(rate(text(&event, "ad"), *tally));
            }
        }
    }
    out.extend(tallies.iter().map(|(ad, tally)| rate(ad, *tally)));
    sorted(out)
}

/// What `recommend` gives, sorted.
pub(crate) fn favourite_lines(views: &str) -> Vec<String> {
    let mut users: BTreeMap<u64, User> = BTreeMap::new();
    let mut out = Vec::new();
    for view in documents(views) {
        let (user, category) = (number(&view, "user"), text(&view, "category"));
        let User { views, ranking } = users.entry(user).or_default();
        let before = top(ranking);
        let count = views.entry(category.to_owned()).or_default();
        ranking.remove(&(Reverse(*count), category.to_owned()));
        *count += 1;
        ranking.insert((Reverse(*count), category.to_owned()));
        let after = top(ranking);
        if before.iter().map(|(_, name)| name).ne(after.iter().map(|(_, name)| name)) {
            out.push(favourites(user, &after));
        }
    }
    out.extend(users.iter().map(|(user, User { ranking, .. })| favourites(*user, &top(ranking))));
    sorted(out)
}

/// Categories, most views first.
type Ranking = BTreeSet<(Reverse<u64>, String)>;

#[derive(Default)]
struct User {
    views: BTreeMap<String, u64>,
    ranking: Ranking,
}

fn top(ranking: &Ranking) -> Vec<(u64, String)> {
    ranking.iter().take(3).map(|(Reverse(views), name)| (*views, name.clone())).collect()
}

fn favourites(user: u64, top: &[(u64, String)]) -> Value {
    let top: Vec<_> = top.iter().map(|(views, name)| json!({ "category": name, "views": views })).collect();
    json!({ "user": user, "top": top })
}

/// What `price-alert` gives, sorted: for each rule the first price that reached it.
pub(crate) fn alert_lines(prices: &str, rules: &str) -> Vec<String> {
    let prices: Vec<Value> = documents(prices).collect();
    let alert = |rule: Value| {
        let threshold = number(&rule, "threshold");
        let reached = |price: &&Value| price["item"] == rule["item"] && number(price, "cents") >= threshold;
        let price = prices.iter().find(reached)?;
        let (rule, item, cents, time) = (&rule["rule"], &rule["item"], &price["cents"], &price["time"]);
        Some(json!({ "rule": rule, "item": item, "threshold": threshold, "cents": cents, "time": time }))
    };
    sorted(documents(rules).filter_map(alert).collect())
}

/// What `fraud-rules` gives for payments in their order, sorted, or its next version: each payment with all of its card before it.
pub(crate) fn fraud_lines(payments: &[Value], version: u32) -> Vec<String> {
    let mut cards: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let mut out = Vec::new();
    for payment in payments {
        let (number_of_card, amount, time) =
            (number(payment, "bidder"), number(payment, "price"), number(payment, "date_time"));
        let before = cards.entry(number_of_card).or_default();
        let (count, total) = (before.len() as u64, before.iter().map(|(amount, _)| amount).sum::<u64>());
        let largest = before.iter().map(|(amount, _)| *amount).max().unwrap_or(0);
        let in_minute = before.iter().filter(|(_, earlier)| earlier + 60_000 > time).count() + 1;
        let rules = [
            ("far-above-average", count >= 5 && amount * count > 10 * total),
            ("many-in-a-minute", in_minute == 10),
            ("largest-after-tries", version == 2 && in_minute > 3 && amount > 2 * largest),
        ];
        let average = total.checked_div(count).unwrap_or(0);
        out.extend(rules.iter().filter(|(_, broken)| *broken).map(|(rule, _)| {
            json!({ "card": number_of_card, "rule": rule, "amount": amount, "average": average, "payment": count + 1, "time": time })
        }));
        before.push((amount, time));
    }
    sorted(out)
}

/// Views of many users, for `recommend`: each looks at a few categories more than once.
pub(crate) fn many_views(count: u64, users: u64) -> String {
    let view = |number: u64| {
        let random = splitmix64(number);
        let (user, category) = (random % users, (random >> 32) % 5 + (random >> 40) % 3);
        format!("{{\"time\":{number},\"user\":{user},\"category\":\"category {category}\"}}\n")
    };
    (0..count).map(view).collect()
}

/// Views of few users who look at many categories.
pub(crate) fn many_categories(count: u64, users: u64, categories: u64) -> String {
    let view = |number: u64| {
        let random = splitmix64(number);
        let (user, category) = (random % users, (random >> 32) % categories);
        format!("{{\"time\":{number},\"user\":{user},\"category\":\"category {category} of very many\"}}\n")
    };
    (0..count).map(view).collect()
}

/// Prices of many items, for `price-alert`.
pub(crate) fn many_prices(count: u64, items: u64) -> String {
    let price = |number: u64| {
        let random = splitmix64(number);
        let (item, cents) = (random % items, (random >> 32) % 1_000);
        format!("{{\"time\":{number},\"item\":\"item {item}\",\"cents\":{cents}}}\n")
    };
    (0..count).map(price).collect()
}

/// Rules for some of the same items.
pub(crate) fn many_rules(count: u64, items: u64) -> String {
    let rule = |number: u64| {
        let random = splitmix64(!number);
        let (item, threshold) = (random % items, 500 + (random >> 32) % 500);
        format!("{{\"rule\":\"rule {number}\",\"item\":\"item {item}\",\"threshold\":{threshold}}}\n")
    };
    (0..count).map(rule).collect()
}
