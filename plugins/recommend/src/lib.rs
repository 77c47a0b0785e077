//! What a user looks at most: the three categories with the most views. The lesson: map state, of which one entry is read and written alone, and all of them only at the end.

use std::cmp::Reverse;

use wasmill_sdk::prelude::*;

/// How many categories are recommended.
const TOP: usize = 3;

/// A view as it comes; the user is the record's key.
#[derive(Deserialize)]
pub struct View {
    category: String,
}

/// A category and how often the user looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Views {
    category: String,
    views: u64,
}

/// What is recommended to a user.
#[derive(Serialize, Schema)]
pub struct Recommendation {
    user: u64,
    /// The most views first; of the same number of views, in the order of the alphabet.
    top: Vec<Views>,
}

/// Counts the views of each user by category; emits when the top three are others or in another order than before, and at the end.
pub struct Recommend {
    views: MapState<String, u64>,
    /// Kept besides the map, so that the map need not be gone through at every view.
    top: ValueState<Vec<Views>>,
}

impl Operator for Recommend {
    type Key<'a> = u64;
    type Input<'a> = Json<View>;
    type Output<'a> = Recommendation;

    fn declare(states: &mut Declaration) -> Self {
        let views = states.map("views");
        states.visit_at_end(&views);
        Self { views, top: states.value("top") }
    }

    fn process(&mut self, Json(View { category }): Json<View>, ctx: &mut Context<Self>) -> Result<()> {
        let views = self.views.get(ctx, &category)?.unwrap_or(0) + 1;
        self.views.insert(ctx, &category, views)?;

        // Only the category that was viewed can have come up.
        let before = self.top.get(ctx)?.unwrap_or_default();
        let others = before.iter().filter(|one| one.category != category).cloned();
        let top = ranked(others.chain([Views { category: category.clone(), views }]).collect());
        let changed = !top.iter().map(|one| &one.category).eq(before.iter().map(|one| &one.category));
        self.top.set(ctx, top.clone())?;
        if changed { ctx.emit(Recommendation { user: ctx.key(), top }) } else { Ok(()) }
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        let views = self.views.entries(ctx)?.map(|entry| entry.map(|(category, views)| Views { category, views }));
        let top = ranked(views.collect::<Result<_>>()?);
        ctx.emit(Recommendation { user: ctx.key(), top })
    }
}

/// The top of these.
fn ranked(mut views: Vec<Views>) -> Vec<Views> {
    views.sort_unstable_by(|a, b| (Reverse(a.views), &a.category).cmp(&(Reverse(b.views), &b.category)));
    views.truncate(TOP);
    views
}

export_operator!(Recommend);
