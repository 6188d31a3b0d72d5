// Measures the steps of the hot path one by one, each as a ratio to a reference measured at the same time.

/// The section `micro`.
struct MicroBench {
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> [Figure] {
        say("\nmicro: steps of the hot path on one core")
        var figures: [Figure] = []
        func add(_ figure: Figure) {
            let value = "\(figure.value.shown) \(figure.unit)"
            say("  \(pad(figure.name, 26)) \(pad(value, 20)) \(figure.verdict) \(figure.against) (\(figure.base.shown))")
            figures.append(figure)
        }
        let decoding = try DecodeBench()
        let base = try decoding.foundation()
        add(figure("decode", perSecond: try decoding.decode(), "events/s", "Foundation's JSONDecoder", base, atLeast: 20))
        add(
            figure(
                "decode, ten types", perSecond: try TypesBench.decode(), "events/s", "three columns", figures[0].value,
                atLeast: 0.15))
        add(figure("validate", perSecond: decoding.validate(), "events/s", "Foundation's JSONDecoder", base, atLeast: 12))

        let arrays = ArrayBench()
        let bare = arrays.copy()
        add(figure("binary array", nanoseconds: arrays.fill(), "a copy of its bytes", bare, atMost: 8))
        let lock = FlowBench.lock()
        add(figure("credits, a batch", nanoseconds: FlowBench.credits(), "an uncontended Mutex", lock, atMost: 10))
        let stream = await FlowBench.stream()
        add(figure("channel hop", nanoseconds: try await FlowBench.channel(), "a hop through AsyncStream", stream, atMost: 4))

        let limits = LimitBench.run()
        add(figure("limit, one client", nanoseconds: limits.hot, "an uncontended Mutex", lock, atMost: 8))
        add(figure("limit, refused", nanoseconds: limits.refused, "the same, admitted", limits.hot, atMost: 2.5))
        add(figure("limit, a million clients", nanoseconds: limits.million, "one client", limits.hot, atMost: 12))
        add(figure("limit, both cores", nanoseconds: limits.contended, "one core", limits.hot, atMost: 3))
        add(
            Figure(
                name: "limit, a client's memory", value: limits.bytesPerKey, unit: "bytes", against: "what it is laid out for",
                base: limits.plannedBytes, ratio: limits.bytesPerKey / limits.plannedBytes, direction: .atMost, aim: 1.1))

        if let server = options.postgresURI {
            let database = BenchDatabase(server: server, name: "sluice_bench_micro")
            let prepare = try await PrepareBench.run(decoding, database)
            let decode = 1e9 / figures[0].value
            add(figure("prepare a row", nanoseconds: prepare, "decoding an event", decode, atMost: 1))
        } else {
            say(
                "  prepare: SKIPPED, it reads the table's shape from the server in SLUICE_BENCH_POSTGRES_URI; use scripts/bench")
        }
        return figures
    }

    private func figure(
        _ name: String, perSecond value: Double, _ unit: String, _ against: String, _ base: Double, atLeast aim: Double
    ) -> Figure {
        Figure(
            name: name, value: value, unit: unit, against: against, base: base, ratio: value / base, direction: .atLeast,
            aim: aim)
    }

    private func figure(
        _ name: String, nanoseconds value: Double, _ against: String, _ base: Double, atMost aim: Double
    ) -> Figure {
        Figure(
            name: name, value: value, unit: "ns", against: against, base: base, ratio: value / base, direction: .atMost,
            aim: aim)
    }
}

/// A text as wide as a column.
func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
