//! Impressions and clicks of each advertisement, and how many of the former led to the latter. The lesson: reducing state, which folds what is added into one value.

use wasmill_sdk::prelude::*;

/// What somebody did with an advertisement; which one it was is the record's key.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It was shown.
    Impression,
    /// It was clicked.
    Click,
}

/// How often an advertisement was shown and clicked.
#[derive(Clone, Serialize, Deserialize, Schema)]
struct Tally {
    impressions: u64,
    clicks: u64,
}

/// How an advertisement does by now.
#[derive(Serialize, Schema)]
pub struct Rate<'a> {
    ad: &'a str,
    impressions: u64,
    clicks: u64,
    /// Clicks in a hundred impressions, to the hundredth; none before the first impression.
    percent: Option<f64>,
}

/// Tallies the events of each advertisement; emits at every click and at the end.
pub struct AdClicks {
    tally: ReducingState<Tally>,
}

impl Operator for AdClicks {
    type Key<'a> = &'a str;
    type Input<'a> = Json<Event>;
    type Output<'a> = Rate<'a>;

    fn declare(states: &mut Declaration) -> Self {
        let tally = states.reducing("tally", |a: Tally, b: Tally| Tally {
            impressions: a.impressions + b.impressions,
            clicks: a.clicks + b.clicks,
        });
        states.visit_at_end(&tally);
        Self { tally }
    }

    fn process(&mut self, Json(event): Json<Event>, ctx: &mut Context<Self>) -> Result<()> {
        match event {
            Event::Impression => {
                self.tally.add(ctx, Tally { impressions: 1, clicks: 0 })?;
                Ok(())
            }
            Event::Click => {
                let tally = self.tally.add(ctx, Tally { impressions: 0, clicks: 1 })?;
                ctx.emit(rate(ctx.key(), &tally))
            }
        }
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        match self.tally.get(ctx)? {
            Some(tally) => ctx.emit(rate(ctx.key(), &tally)),
            None => Ok(()),
        }
    }
}

fn rate<'a>(ad: &'a str, &Tally { impressions, clicks }: &Tally) -> Rate<'a> {
    let percent = (impressions > 0).then(|| (clicks as f64 * 10_000.0 / impressions as f64).round() / 100.0);
    Rate { ad, impressions, clicks, percent }
}

export_operator!(AdClicks);
