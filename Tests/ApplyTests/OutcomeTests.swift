// Outcomes by SQLSTATE, and the poison guard.

import Postgres
import Records
import Testing

@testable import Apply

@Suite struct OutcomeTests {
    @Test(arguments: [
        ("08006", ErrorOutcome.retry), ("25006", .retry), ("25P03", .retry), ("40001", .retry), ("40P01", .retry),
        ("53100", .retry),
        ("53300", .retry), ("55P03", .retry), ("57014", .retryHalved), ("57P01", .retry), ("57P02", .retry), ("57P03", .retry),
        ("58030", .retry), ("26000", .retry), ("23503", .constraintRetry), ("22001", .deadLetter), ("22P05", .deadLetter),
        ("23505", .constraintRetry),
        ("23514", .deadLetter), ("23502", .deadLetter), ("23P01", .deadLetter), ("54000", .deadLetter), ("54001", .deadLetter),
        ("P0001", .deadLetter), ("21000", .deadLetter), ("42P01", .stop), ("28P01", .stop), ("3D000", .stop), ("57P04", .retry),
        ("0A000", .stop), ("XX000", .stop), ("XX001", .stop), ("55006", .stop), ("P0002", .stop), ("58P01", .stop),
        ("25P02", .stop), ("SL001", .stop), ("57000", .retry), ("57P05", .retry), ("40002", .retry), ("25P04", .retryHalved),
        ("53200", .retryHalved),
        ("2200H", .stop),
    ])
    func defaults(_ state: String, _ outcome: ErrorOutcome) throws {
        #expect(try OutcomeTable().outcome(of: SQLState(state)) == outcome)
    }

    @Test func anErrorWithoutStateStops() throws { #expect(try OutcomeTable().outcome(of: nil) == .stop) }

    /// A missing table partition is a fault of the schema; a CHECK and a trigger that raises the same state judge rows.
    @Test func aMissingPartitionIsNoBadRow() throws {
        var missing = PostgresError(.server, "no partition of relation \"ev\" found for row", sqlState: .checkViolation)
        #expect(try OutcomeTable().outcome(of: missing) == .deadLetter, "a trigger raises it without a table")
        missing.table = "ev"
        #expect(try OutcomeTable().outcome(of: missing) == .stop)
        #expect(try OutcomeTable(overrides: ["23514": "retry"]).outcome(of: missing) == .retry)
        missing.constraint = "ev_check"
        #expect(try OutcomeTable().outcome(of: missing) == .deadLetter)
    }

    @Test func theMostSpecificEntryWins() throws {
        let table = try OutcomeTable(overrides: ["23514": "stop", "42": "retry", "P0": "dead_letter"])
        #expect(table.outcome(of: SQLState("23514")) == .stop)
        #expect(table.outcome(of: SQLState("23505")) == .constraintRetry)
        #expect(table.forAppends.outcome(of: SQLState("23505")) == .deadLetter, "no event sets the value free")
        #expect(table.outcome(of: SQLState("42P01")) == .retry)
        #expect(table.outcome(of: SQLState("P0002")) == .deadLetter)
    }

    @Test func everyWrongEntryIsNamed() {
        let error = #expect(throws: ApplyError.self) {
            try OutcomeTable(overrides: ["2351": "stop", "23505": "ignore", "22": "retry", "23503": "foreign_key_retry"])
        }
        #expect(error?.description.contains("2351 is neither") == true)
        #expect(error?.description.contains("23505: ignore is none of") == true)
        #expect(error?.description.contains("23503: foreign_key_retry was renamed to constraint_retry") == true)
        #expect(error?.description.contains("22:") == false)
    }

    /// What the server's function decides by lists must be what the table decides.
    @Test(arguments: [FinalConstraints.none, .all, .named(["a"])]) func theListsSayWhatTheTableSays(_ final: FinalConstraints)
        throws
    {
        let table = try OutcomeTable(overrides: ["23514": "stop", "22": "retry", "22001": "dead_letter", "40P01": "dead_letter"])
        let lists = table.refusals(final: final)
        for state in ["23514", "23505", "23503", "22001", "22003", "40P01", "40001", "P0001", "P0002", "54000", "42P01", "53100"]
        {
            let listed =
                lists.states.contains(state)
                || (lists.classes.contains(String(state.prefix(2))) && !lists.otherStates.contains(state))
            let outcome = table.outcome(of: SQLState(state))
            #expect(listed == (outcome == .deadLetter || outcome == .constraintRetry), "\(state)")
            for constraint in ["a", "b", ""] where outcome == .constraintRetry {
                let waits = lists.waiting.contains(state) && !lists.constraints.contains(constraint)
                #expect(waits == !final.contains(constraint), "\(state) by \(constraint)")
            }
            #expect(outcome == .constraintRetry || !lists.waiting.contains(state), "\(state)")
        }
    }
}

@Suite struct PoisonGuardTests {
    private let source = TopicPartition("t", 0)

    @Test func mostOfAThousandWithinAMinute() {
        var machine = PoisonGuardMachine(PoisonLimits())
        #expect(machine.verdict(source, records: 999, bad: 999, at: 0) == nil)
        #expect(machine.verdict(source, records: 1000, bad: 500, at: 0) == nil)
        #expect(machine.verdict(source, records: 1000, bad: 501, at: 0) != nil)
        machine.committed(source, records: 600, bad: 200, at: 0)
        #expect(machine.verdict(source, records: 400, bad: 300, at: 30) == nil)
        #expect(
            machine.verdict(source, records: 400, bad: 301, at: 30) == "501 of the last 1000 records of t[0] could not be applied"
        )
    }

    /// Ten records a second of which all are bad, over many partitions: no window of a minute has a thousand of one.
    @Test func mostOfTheLastThousandHoweverLongTheyTook() {
        var machine = PoisonGuardMachine(PoisonLimits())
        var verdict: String?
        var committed = 0
        while verdict == nil, committed < 2_000 {
            let partition = TopicPartition("t", Int32(committed / 10 % 32))
            verdict = machine.verdict(partition, records: 10, bad: 10, at: Double(committed))
            if verdict == nil { machine.committed(partition, records: 10, bad: 10, at: Double(committed)) }
            committed += 10
        }
        #expect(verdict == "1000 of the last 1000 records of all partitions could not be applied")
        // Started again, the partition is not stopped at once, and is stopped again if nothing has changed.
        let partition = TopicPartition("t", Int32((committed - 10) / 10 % 32))
        machine.forgotten(TopicPartition("t", 40))
        #expect(machine.verdict(partition, records: 10, bad: 10, at: 5_000) != nil, "another partition was claimed")
        machine.forgotten(partition)
        #expect(machine.verdict(partition, records: 999, bad: 999, at: 5_000) == nil)
        #expect(machine.verdict(partition, records: 1_000, bad: 501, at: 5_000) != nil)
    }

    /// Of the last records only as many count as are asked for, so that long health does not hide what has begun.
    @Test func formerRecordsDoNotCount() {
        var machine = PoisonGuardMachine(PoisonLimits())
        for second in 0..<1_000 { machine.committed(source, records: 100, bad: 0, at: Double(second) * 100) }
        for second in 1_000..<1_005 {
            #expect(machine.verdict(source, records: 100, bad: 100, at: Double(second) * 100) == nil)
            machine.committed(source, records: 100, bad: 100, at: Double(second) * 100)
        }
        #expect(machine.verdict(source, records: 100, bad: 100, at: 100_700) != nil)
    }

    @Test func theWindowSlides() {
        var machine = PoisonGuardMachine(PoisonLimits())
        machine.committed(TopicPartition("t", 1), records: 10_000, bad: 0, at: 0)
        machine.committed(source, records: 900, bad: 900, at: 100)
        #expect(machine.verdict(source, records: 100, bad: 100, at: 150) != nil)
        #expect(machine.verdict(source, records: 100, bad: 100, at: 165) == nil)
        machine.committed(source, records: 10_000, bad: 0, at: 165)
        #expect(machine.verdict(source, records: 900, bad: 900, at: 170) == nil)
    }

    @Test func otherLimitsKeepWhatWasCounted() {
        var machine = PoisonGuardMachine(PoisonLimits())
        machine.committed(TopicPartition("t", 1), records: 100_000, bad: 0, at: 0)
        machine.committed(source, records: 900, bad: 900, at: 100)
        machine.committed(source, records: 10, bad: 10, at: 130)
        var longer = PoisonLimits()
        longer.windowSeconds = 600
        machine.limitsChanged(to: longer)
        #expect(machine.verdict(source, records: 100, bad: 100, at: 500) != nil, "both counts are within ten minutes")
        #expect(machine.verdict(source, records: 100, bad: 100, at: 800) == nil)
        longer.leastRecords = 5_000
        machine.limitsChanged(to: longer)
        #expect(machine.verdict(source, records: 100, bad: 100, at: 500) == nil)
        var shorter = PoisonLimits()
        shorter.windowSeconds = 12
        machine.limitsChanged(to: shorter)
        #expect(machine.verdict(source, records: 990, bad: 990, at: 500) == nil)
    }

    @Test func goodRecordsAloneNeverStopAPartition() {
        var machine = PoisonGuardMachine(PoisonLimits())
        machine.committed(source, records: 2000, bad: 1500, at: 0)
        #expect(machine.verdict(source, records: 10, bad: 0, at: 1) == nil)
        #expect(machine.verdict(source, records: 10, bad: 1, at: 1) != nil)
        machine.forgotten(source)
        #expect(machine.verdict(source, records: 10, bad: 1, at: 1) == nil)
    }
}
