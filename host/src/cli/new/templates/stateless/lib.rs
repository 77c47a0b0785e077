//! Emits the bids from some price on, each with its auction as the key.

use wasmill_sdk::prelude::*;

/// The operator's `config` table in the job file.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// Bids below it are dropped; in cents.
    min_price: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_price: 1 }
    }
}

/// What the source gives: one bid. Fields that are not named here are left out.
#[derive(Deserialize)]
pub struct Bid {
    auction: u64,
    bidder: u64,
    /// In cents.
    price: u64,
}

/// The operator. It keeps nothing of a record.
#[derive(Default)]
pub struct HighBids {
    config: Config,
}

/// What it emits; the auction is the key.
#[derive(Serialize, Schema)]
pub struct HighBid {
    auction: u64,
    bidder: u64,
    /// In cents.
    price: u64,
}

impl Operator for HighBids {
    type Key<'a> = ();
    type Input<'a> = Json<Bid>;
    type Output<'a> = Keyed<u64, HighBid>;

    fn declare(_: &mut Declaration) -> Self {
        Self::default()
    }

    fn open(&mut self, open: &OpenContext) -> Result<()> {
        self.config = open.config()?;
        if self.config.min_price == 0 {
            bail!("config: min-price: must be at least 1");
        }
        Ok(())
    }

    /// Called for each record. An error (by `?`, `bail!`) undoes what was done for this record, and the job's `on-error` says what becomes of it.
    fn process(&mut self, Json(bid): Json<Bid>, ctx: &mut Context<Self>) -> Result<()> {
        let Bid {
            auction,
            bidder,
            price,
        } = bid;
        if price >= self.config.min_price {
            ctx.emit(Keyed(
                auction,
                HighBid {
                    auction,
                    bidder,
                    price,
                },
            ))?;
        }
        Ok(())
    }
}

export_operator!(HighBids);
