///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of what a power cut leaves, wherever it falls
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/PowerCut.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/**
 * The power-cut replay in small, see {@link PowerCut}: 200 states, half of them in a run with many
 * checkpoints; and its counter-test.
 */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class PowerCutTest {
    private static final int STATES = 100;

    /** Where nearly each state has lost something, a few tell as much. */
    private static final int STATES_OF_LOSSES = 20;

    private static final int MESSAGES = 800;

    @TempDir private Path folder;

    @BeforeEach
    void needsStrace() throws InterruptedException {
        Assumptions.assumeTrue(PowerCut.possible(), "needs strace, and leave to trace a process");
    }

    @Test
    void powerCutAtAnyMomentLosesNothingAcknowledged() throws Exception {
        assertNothingLost(replay(PowerCut.Setting.AS_IT_IS, STATES));
    }

    @Test
    void powerCutDuringCheckpointsLosesNothingAcknowledged() throws Exception {
        PowerCut.Verdict verdict = replay(PowerCut.Setting.OFTEN_CHECKPOINTED, STATES);
        assertNothingLost(verdict);
        assertTrue(
                verdict.checkpoints() >= 5,
                () -> "too few checkpoints to say anything: " + verdict);
    }

    @Test
    void withoutASyncForEachCommitTheSameReplayFindsLosses() throws Exception {
        PowerCut.Verdict verdict = replay(PowerCut.Setting.NORMAL, STATES_OF_LOSSES);
        assertTrue(verdict.losing() > 0, () -> "a replay that can find nothing: " + verdict);
        assertEquals(0, verdict.damaged(), verdict::toString);
    }

    private PowerCut.Verdict replay(PowerCut.Setting setting, int states) throws Exception {
        PowerCut.Verdict verdict = PowerCut.replay(folder, setting, MESSAGES, states);
        System.out.println(setting + ": " + verdict);
        return verdict;
    }

    private static void assertNothingLost(PowerCut.Verdict verdict) {
        assertEquals(STATES, verdict.states());
        assertEquals(0, verdict.losing(), verdict::toString);
        assertEquals(0, verdict.damaged(), verdict::toString);
    }
}
