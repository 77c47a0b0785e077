//! An operator's metrics, gathered in the guest and handed over once per call.

use crate::host::Host;

#[derive(Default)]
pub(crate) struct Metrics {
    counters: Vec<(&'static str, u64)>,
    gauges: Vec<(&'static str, Option<f64>)>,
}

impl Metrics {
    #[inline]
    pub(crate) fn count(&mut self, name: &'static str, delta: u64) {
        *entry(&mut self.counters, name) += delta;
    }

    #[inline]
    pub(crate) fn gauge(&mut self, name: &'static str, value: f64) {
        *entry(&mut self.gauges, name) = Some(value);
    }

    pub(crate) fn flush(&mut self, host: &dyn Host) {
        for (name, delta) in self.counters.iter_mut().filter(|(_, delta)| *delta > 0) {
            host.count(name, std::mem::take(delta));
        }
        for (name, value) in &mut self.gauges {
            if let Some(value) = value.take() {
                host.gauge(name, value);
            }
        }
    }
}

/// The entry of `name`; nearly always the same literal, so the addresses are compared first. Operators have a handful of metrics.
fn entry<'a, T: Default>(entries: &'a mut Vec<(&'static str, T)>, name: &'static str) -> &'a mut T {
    let found = entries
        .iter()
        .position(|(known, _)| std::ptr::eq(*known, name))
        .or_else(|| entries.iter().position(|(known, _)| *known == name));
    let index = found.unwrap_or_else(|| {
        entries.push((name, T::default()));
        entries.len() - 1
    });
    &mut entries[index].1
}
