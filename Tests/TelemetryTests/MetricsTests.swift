// Checks the page that Prometheus scrapes, sample by sample.

import Platform
import Synchronization
import Telemetry
import Testing

@Suite struct MetricsTests {
    private func page(_ registry: MetricsRegistry) -> String { String(decoding: registry.render(), as: UTF8.self) }

    @Test func pageShowsFamiliesInTheOrderOfRegistration() {
        let registry = MetricsRegistry()
        let events = registry.counterFamily("sluice_events_total", help: "Events by outcome.", labels: ["outcome"])
        let applied = events.child("applied")
        events.child("dead_letter")
        let budget = registry.gauge("sluice_memory_budget_bytes", help: "Bytes the worker may hold.")
        let apply = registry.histogram(
            "sluice_batch_apply_seconds", help: "Seconds a batch took.", buckets: [0.01, 0.5, 1])
        registry.collector("kafka_consumergroup_lag", type: .gauge, help: "End offset − applied offset.") { sink in
            sink.sample(7, ["topic": "messages", "partition": "0"])
            sink.sample(9_007_199_254_740_993, ["topic": "messages", "partition": "1"])
        }
        registry.collector("sluice_lag_seconds", type: .gauge, help: "Age of the oldest unapplied record.") { _ in }

        applied.increment()
        applied.increment(by: 41)
        budget.set(67_108_864)
        apply.observe(0.01)
        apply.observe(0.25, count: 3)
        apply.observe(2)

        #expect(
            page(registry) == """
                # HELP sluice_events_total Events by outcome.
                # TYPE sluice_events_total counter
                sluice_events_total{outcome="applied"} 42
                sluice_events_total{outcome="dead_letter"} 0
                # HELP sluice_memory_budget_bytes Bytes the worker may hold.
                # TYPE sluice_memory_budget_bytes gauge
                sluice_memory_budget_bytes 67108864
                # HELP sluice_batch_apply_seconds Seconds a batch took.
                # TYPE sluice_batch_apply_seconds histogram
                sluice_batch_apply_seconds_bucket{le="0.01"} 1
                sluice_batch_apply_seconds_bucket{le="0.5"} 4
                sluice_batch_apply_seconds_bucket{le="1"} 4
                sluice_batch_apply_seconds_bucket{le="+Inf"} 5
                sluice_batch_apply_seconds_sum 2.76
                sluice_batch_apply_seconds_count 5
                # HELP kafka_consumergroup_lag End offset − applied offset.
                # TYPE kafka_consumergroup_lag gauge
                kafka_consumergroup_lag{topic="messages",partition="0"} 7
                kafka_consumergroup_lag{topic="messages",partition="1"} 9007199254740993
                # HELP sluice_lag_seconds Age of the oldest unapplied record.
                # TYPE sluice_lag_seconds gauge

                """)
    }

    @Test func labelsAndHelpAreEscaped() {
        let registry = MetricsRegistry()
        registry.counterFamily("a_total", help: "back\\slash, new\nline, \"quote\"", labels: ["b"]).child("\\ \"x\" \n {é}")
            .increment()
        #expect(
            page(registry) == """
                # HELP a_total back\\\\slash, new\\nline, "quote"
                # TYPE a_total counter
                a_total{b="\\\\ \\"x\\" \\n {é}"} 1

                """)
    }

    @Test(arguments: [
        (0.0, "0"), (-1.5, "-1.5"), (1e-7, "1e-07"), (1e300, "1e+300"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        (123_456_789_012_345, "123456789012345"),
    ])
    func numbersHaveTheFormPrometheusReads(value: Double, shown: String) {
        let registry = MetricsRegistry()
        registry.gauge("a", help: "A.").set(value)
        #expect(page(registry).hasSuffix("\na \(shown)\n"))
    }

    @Test func aSeriesIsFoundByItsLabels() {
        let registry = MetricsRegistry()
        let family = registry.counterFamily("a_total", help: "A.", labels: ["topic", "partition"])
        family.child("t", "0").increment()
        family.child("t", "0").increment()
        family.child("t", "1").increment()
        #expect(page(registry).contains("a_total{topic=\"t\",partition=\"0\"} 2\na_total{topic=\"t\",partition=\"1\"} 1\n"))
    }

    @Test func familiesOfOneStateAgreeAndAskOnceAPage() {
        let registry = MetricsRegistry()
        let asked = Mutex(0)
        // An optional, and nil at first: having been asked and knowing nothing is not the same as not having been asked.
        let states = registry.sharedCollector { () -> Int? in
            asked.withLock { asked in
                asked += 1
                return asked == 1 ? nil : asked
            }
        }
        for name in ["a", "b", "c"] {
            states.family(name, type: .gauge, help: "A.") { sink, state in if let state { sink.sample(state) } }
        }
        let others = registry.sharedCollector { 7 }
        others.family("d", type: .gauge, help: "D.") { sink, state in sink.sample(state) }
        #expect(!page(registry).contains("\na "))
        #expect(asked.withLock { $0 } == 1)
        let second = page(registry)
        for line in ["a 2", "b 2", "c 2", "d 7"] { #expect(second.contains("\n\(line)\n")) }
        #expect(asked.withLock { $0 } == 2)
    }

    /// The collectors are gone when the page is rendered; the next one must not find the state of one before it at its own address.
    @Test func collectorsThatAreGoneKeepTheirStatesApart() {
        let registry = MetricsRegistry()
        func register(_ number: Int) {
            registry.sharedCollector { Optional(number) }
                .family("n\(number)", type: .gauge, help: "N.") { sink, state in if let state { sink.sample(state) } }
        }
        for number in 0..<1_000 { register(number) }
        let lines = Set(page(registry).split(separator: "\n"))
        for number in 0..<1_000 { #expect(lines.contains("n\(number) \(number)")) }
    }

    @Test func whatIsNotANumberIsNotObserved() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram("a_seconds", help: "A.", buckets: [1])
        histogram.observe(.nan)
        histogram.observe(.infinity)
        #expect(page(registry).contains("a_seconds_count 1\n"))
    }

    @Test func manyThreadsLoseNothing() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("a_total", help: "A.")
        let histogram = registry.histogram("c_seconds", help: "C.", buckets: [1, 2, 3])
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    for round in 0..<10_000 {
                        counter.increment()
                        histogram.observe(Double((worker + round) % 4) + 0.5, count: 2)
                    }
                }
            }
            for _ in 0..<20 { #expect(!registry.render().isEmpty) }
        }
        #expect(counter.value == 80_000)
        #expect(
            page(registry).hasSuffix(
                "c_seconds_bucket{le=\"2\"} 80000\nc_seconds_bucket{le=\"3\"} 120000\nc_seconds_bucket{le=\"+Inf\"} 160000\n"
                    + "c_seconds_sum 320000\nc_seconds_count 160000\n"))
    }

    @Test func collectorsMayRegisterWithoutDeadlock() {
        let registry = MetricsRegistry()
        let isFirst = Atomic(true)
        registry.collector("a", type: .gauge, help: "A.") { [weak registry] sink in
            if isFirst.exchange(false, ordering: .relaxed) { registry?.gauge("b", help: "B.").set(1) }
            sink.sample(1)
        }
        #expect(!page(registry).contains("\nb 1"))
        #expect(page(registry).contains("\nb 1\n"))
    }

    @Test func namesPrometheusWouldRefuseTrap() async {
        await #expect(processExitsWith: .failure) { _ = MetricsRegistry().gauge("1st", help: "A.") }
        await #expect(processExitsWith: .failure) { _ = MetricsRegistry().counter("count", help: "A.") }
        await #expect(processExitsWith: .failure) {
            let registry = MetricsRegistry()
            _ = registry.gauge("a", help: "A.")
            _ = registry.gauge("a", help: "A.")
        }
    }

    @Test func processMetricsAreThere() throws {
        let registry = MetricsRegistry()
        registry.registerProcessMetrics()
        let lines = page(registry).split(separator: "\n").filter { !$0.hasPrefix("#") }
        let names = lines.compactMap { $0.split(separator: " ").first.map(String.init) }
        #expect(
            names == [
                "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
                "process_max_fds", "process_start_time_seconds",
            ])
        let values = lines.compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
        try #require(values.count == 6)
        let (resident, start) = (values[0], values[5])
        #expect((0x1p20..<0x1p36).contains(resident))
        let now = Double(WallClock.milliseconds()) / 1000
        #expect(start <= now + 1 && start > now - 86_400)
    }

    @Test func clocksMove() {
        let first = MonotonicClock.nanoseconds()
        var second = first
        for _ in 0..<1_000_000 where second == first { second = MonotonicClock.nanoseconds() }
        #expect(second > first)
        #expect(WallClock.milliseconds() > 1_700_000_000_000)
    }
}
