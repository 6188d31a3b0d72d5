// Runs a small part of the simulation with every test run, and proves that a seed decides everything in it.

import Pipeline
import Records
import TestSupport
import Testing

@testable import sluice_simulate

@Suite(.timeLimit(.minutes(3))) struct SimulationTests {
    @Test func someHundredSchedulesHold() {
        let first = testSeed("simulation")
        var coverage = Coverage()
        for seed in first..<first + 300 {
            let report = Simulation.run(seed: seed)
            coverage.add(report.coverage)
            #expect(report.violation == nil, "seed \(seed); replay it with scripts/simulate --seed \(seed)")
            if report.violation != nil { return }
        }
        #expect(coverage[.transactions] > 0 && coverage[.fences] > 0 && coverage[.pauses] > 0 && coverage[.secondLives] > 0)
    }

    @Test func theSameSeedIsTheSameSchedule() {
        let first = testSeed("simulation, twice")
        var hashes: Set<UInt64> = []
        for seed in first..<first + 50 {
            let report = Simulation.run(seed: seed, keepsTranscript: true)
            let again = Simulation.run(seed: seed, keepsTranscript: true)
            #expect(report.hash == again.hash, "seed \(seed)")
            #expect(report.lines == again.lines, "seed \(seed)")
            #expect(report.jobs == again.jobs, "seed \(seed)")
            hashes.insert(report.hash)
        }
        #expect(hashes.count == 50, "two seeds have led to the same transcript")
    }

    /// The simulation's database checks every write: what it accepts wrongly is never found.
    @Test func theDatabaseChecksEveryWrite() {
        func verdict(_ write: (SimulatedWorld) -> [Int]) -> (refused: [Int], violation: String?) {
            let world = SimulatedWorld(seed: 1, keepsTranscript: false)
            var random = SimulationRandom(seed: 1, stream: 1)
            world.log.append(4, to: 0, at: 0, world.scenario, &random)
            _ = world.database.claim(0)
            return (write(world), world.violation)
        }
        func part(
            _ world: SimulatedWorld, _ range: Range<Int>, epoch: Int64 = 1, expected: Int64 = 0, value: Int64 = 0
        ) -> SimulatedDatabase.Part {
            let offsets = world.log.partitions[0].offsets[range]
            return SimulatedDatabase.Part(
                partition: 0, epoch: epoch, expected: expected, records: offsets.map { (offset: $0, value: $0 + value) }[...],
                next: offsets.last! + 1)
        }
        #expect(verdict { $0.database.write([part($0, 0..<4)]) } == ([], nil))
        #expect(verdict { $0.database.write([part($0, 0..<4, epoch: 0)]) } == ([0], nil))
        #expect(verdict { $0.database.write([part($0, 0..<4, expected: 1)]) } == ([0], nil))
        #expect(verdict { $0.database.write([part($0, 1..<4)]) }.violation != nil, "a record is left out at the front")
        #expect(verdict { $0.database.write([part($0, 0..<4, value: 1)]) }.violation != nil, "a record has the value of another")
        let other = verdict { world in
            _ = world.database.write([part(world, 0..<2)])
            let next = world.database.rows[0].next
            var random = SimulationRandom(seed: 1, stream: 1)
            world.log.delete(0)
            world.log.create(0)
            world.log.append(8, to: 0, at: 0, world.scenario, &random)
            return world.database.write([
                part(world, Int(next)..<Int(next) + 1, expected: next, value: SimulatedLog.value(0, life: 1))
            ])
        }
        #expect(other.violation != nil, "the first records of another log are left out")
        let skips = verdict { world in
            let whole = part(world, 0..<4)
            return world.database.write([
                .init(partition: 0, epoch: 1, expected: 0, records: whole.records.dropLast(), next: whole.next)
            ])
        }
        #expect(skips.violation != nil, "the offset passes a record that was not written")
    }
}

private func == (a: (refused: [Int], violation: String?), b: ([Int], String?)) -> Bool {
    a.refused == b.0 && a.violation == b.1
}
