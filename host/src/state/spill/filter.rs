//! Drops expired entries while fjall compacts: garbage collection only, because what nobody compacts stays; readers ask for expiry themselves.
//!
//! Nothing here may panic: a panic would end the database's only worker.

use std::sync::Arc;

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};

use crate::state::expiry::{Expiry, ExpiryRules};

/// Makes a filter for each compaction.
pub(super) struct ExpiryFilterFactory(pub(super) Arc<Expiry>);

impl Factory for ExpiryFilterFactory {
    fn name(&self) -> &str {
        "wasmill-expiry"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(ExpiryFilter(self.0.rules()))
    }
}

struct ExpiryFilter(ExpiryRules);

impl CompactionFilter for ExpiryFilter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        // A tombstone, not nothing: an older version may lie in a deeper level, from a time when its state had no time to live.
        let expired = !self.0.is_empty() && !item.is_indirection() && self.0.is_expired(item.key(), &item.value()?);
        Ok(if expired { Verdict::Remove } else { Verdict::Keep })
    }
}
