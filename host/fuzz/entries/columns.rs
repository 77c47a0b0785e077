//! Bytes as what a guest does in calls: columns that contradict themselves, slots and states that there are not, failures of no record. Whatever it is, the task goes on, and what leaves it
//! is whole.

use std::{sync::Arc, time::Duration};

use wasmill::{
    metrics::OperatorCounters,
    operator::{
        CallTime, CellColumns, Descriptor, Exchange, ExchangeLimits, Execution, ExecutionSetup, Failure, FaultPolicy,
        Hooks, InputDescriptor, Instance, InstanceLimits, Keying, OutputDescriptor, Plugin, Restored, StateDescriptor,
        StateKind, Strings, TaskInfo,
    },
    state::Delivery,
    stream::{Batch, BatchLimits, BytesColumn, EventTime, Fault, FaultKind, Keys, schema::Schema},
};

const RECORDS: usize = 4;
const CALLS: i64 = 4;

/// Takes what a call does off bytes; at their end all is nothing.
struct Script(Vec<u8>);

impl Script {
    fn byte(&mut self) -> u8 {
        self.0.pop().unwrap_or(0)
    }

    /// Small for most bytes, anything for some.
    fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=239 => u32::from(small % 12),
            240..=247 => u32::from(self.byte()) << 8 | u32::from(self.byte()),
            _ => u32::MAX - u32::from(self.byte()),
        }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 7).map(|_| one(self)).collect()
    }

    fn numbers(&mut self) -> Vec<u32> {
        self.list(Self::number)
    }

    /// Data and ends, which mostly fit.
    fn strings(&mut self) -> (Vec<u8>, Vec<u32>) {
        if self.byte().is_multiple_of(4) {
            return (self.list(Self::byte), self.numbers());
        }
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        for string in self.list(|script| script.list(Self::byte)) {
            data.extend(string);
            ends.push(data.len() as u32);
        }
        (data, ends)
    }

    fn versions(&mut self) -> Vec<u16> {
        if self.byte().is_multiple_of(2) { Vec::new() } else { self.list(|script| u16::from(script.byte() % 3)) }
    }

    fn act(&mut self, exchange: &mut Exchange) {
        let (state, values, versions) = (self.number(), self.strings(), self.versions());
        let (slots, namespaces, map_keys) = (self.numbers(), self.strings(), self.strings());
        let cells = CellColumns {
            slots: &slots,
            namespaces: Strings { data: &namespaces.0, ends: &namespaces.1 },
            map_keys: Strings { data: &map_keys.0, ends: &map_keys.1 },
        };
        let value_strings = Strings { data: &values.0, ends: &values.1 };
        let times: Vec<i64> = self.list(|script| i64::from(script.number()));
        let page = (self.byte().is_multiple_of(2)).then(|| self.list(Self::byte));
        let bytes = self.number();
        // Errors are what this is about: the host remembers them.
        match self.byte() % 14 {
            0 => drop(exchange.emit(state, &slots, &values.0, &values.1, &times)),
            1 => drop(exchange.emit_keyed(state, (&map_keys.0, &map_keys.1), &values.0, &values.1, &times)),
            2 => drop(exchange.put_many(state, &slots, &values.0, &values.1, &versions)),
            3 => drop(exchange.get_many(state, &slots)),
            4 => drop(exchange.put_cells(state, cells, value_strings, &versions)),
            5 => drop(exchange.get_cells(state, cells)),
            6 => drop(exchange.append_many(state, cells, value_strings)),
            7 => drop(exchange.clear_many(state, cells)),
            8 => drop(exchange.read(state, bytes % 8, &namespaces.0, page.as_deref(), bytes)),
            9 => drop(exchange.set_list(state, &values.0, &values.1)),
            10 => drop(exchange.put_broadcast(state, (&map_keys.0, &map_keys.1), (&values.0, &values.1, &versions))),
            11 => drop(exchange.get_broadcast(state, &map_keys.0, &map_keys.1)),
            12 => drop(exchange.read_broadcast(state, page.as_deref(), bytes)),
            _ => drop((exchange.key_of(bytes), exchange.slot_of(&values.0))),
        }
    }

    fn call(&mut self, exchange: &mut Exchange) -> Result<Vec<Failure>, Fault> {
        while !self.0.is_empty() && !self.byte().is_multiple_of(8) {
            self.act(exchange);
        }
        match self.byte() % 8 {
            0 => Err(Fault::new(FaultKind::Trap, "as the script says")),
            1 => Ok(self.list(|script| Failure { index: script.number(), message: "as the script says".to_owned() })),
            _ => Ok(Vec::new()),
        }
    }
}

/// A plugin whose instances do what bytes say.
struct Scripted {
    descriptor: Descriptor,
    script: Vec<u8>,
}

impl Plugin for Scripted {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn digest(&self) -> &str {
        ""
    }

    fn instantiate(&self, _: InstanceLimits, _: &TaskInfo) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Script(self.script.clone())))
    }
}

impl Instance for Script {
    fn open(&mut self, _: &str, _: &TaskInfo, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u32,
        _: &Delivery,
        _: &Batch,
        _: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        self.call(exchange)
    }

    fn on_end(&mut self, _: &Delivery, _: CallTime, exchange: &mut Box<Exchange>) -> Result<Vec<Failure>, Fault> {
        self.call(exchange)
    }

    fn snapshot(&mut self, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&mut self, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

fn descriptor(keying: Keying) -> Descriptor {
    let kinds = [
        StateKind::Value,
        StateKind::Reducing,
        StateKind::KeyedList,
        StateKind::KeyedMap,
        StateKind::OperatorList,
        StateKind::Broadcast,
    ];
    let states = kinds.into_iter().enumerate().map(|(number, kind)| StateDescriptor {
        name: format!("state-{number}"),
        kind,
        version: 1,
        schema: Schema::bytes(),
        map_key: matches!(kind, StateKind::KeyedMap | StateKind::Broadcast).then(Schema::bytes),
        migrates_from: Vec::new(),
        ttl: None,
        prefetch: number == 0,
        on_end: number == 1,
    });
    let input =
        |name: &str, key, broadcast| InputDescriptor { name: name.to_owned(), key, value: Schema::bytes(), broadcast };
    Descriptor {
        name: "scripted".to_owned(),
        version: "1".to_owned(),
        inputs: vec![input("in", Some(Schema::bytes()), false), input("all", None, true)],
        outputs: vec![OutputDescriptor { name: "out".to_owned(), keying, value: Schema::bytes() }],
        states: states.collect(),
        hooks: Hooks::default(),
    }
}

/// Does in some calls what bytes say.
pub(crate) fn feed(bytes: &[u8]) {
    let Some((first, script)) = bytes.split_first() else { return };
    let keying = match first % 3 {
        0 => Keying::Keep,
        1 => Keying::Set(Schema::bytes()),
        _ => Keying::Drop,
    };
    let time = |now| CallTime { now: EventTime(now), watermark: None };
    let setup = ExecutionSetup {
        info: TaskInfo {
            job: "job".to_owned(),
            operator: "scripted".to_owned(),
            task: 0,
            parallelism: 1,
            max_parallelism: 8,
            key_groups: 0..8,
            batch: BatchLimits { records: RECORDS, bytes: 1 << 20 },
        },
        plugin: Arc::new(Scripted { descriptor: descriptor(keying), script: script.to_vec() }),
        config: "{}".to_owned(),
        limits: InstanceLimits { memory_bytes_max: 1 << 30, call_time: Duration::from_secs(1) },
        exchange_limits: ExchangeLimits { staged_bytes_max: 1 << 16, key_bytes_max: 8, value_bytes_max: 64 },
        policy: FaultPolicy::Skip,
        faults_per_minute: u32::MAX,
        keys_wanted: first & 64 == 0,
        key_schemas: vec![Some(Schema::bytes()), None],
        counters: Arc::new(OperatorCounters::default()),
        time: time(0),
        log: Box::new(|_, _, _| {}),
        spill: None,
        snapshots: None,
        restored: Restored::default(),
        state_ids: Default::default(),
        succession: Arc::default(),
    };
    let mut execution = Execution::new(setup).expect("it opens");
    let (mut out, mut dead) = (Vec::new(), Batch::new(false));
    for call in 0..CALLS {
        let keyed = (first >> 3) & (1 << call) == 0;
        let mut keys = BytesColumn::empty_strings(0);
        (0..RECORDS as u8).for_each(|record| keys.push(&[record % 3]));
        let batch = Batch {
            values: BytesColumn::empty_strings(RECORDS),
            keys: keyed.then(|| Keys::hashed(keys)),
            timestamps: if first & 128 == 0 { Vec::new() } else { (0..RECORDS as i64).collect() },
        };
        let done = execution.process(u32::from(!keyed), &batch, time(call), &mut out, &mut dead);
        done.expect("faults of records are skipped");
        out.drain(..).for_each(|batch| batch.assert_consistent());
    }
}
