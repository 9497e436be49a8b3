///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the store's files after a power cut at any moment
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
 * A small run of the power-cut replay, see {@link PowerCut}: 200 states of the disk after a power
 * cut, half of them with many checkpoints. A counter-test proves that the replay can find losses.
 */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class PowerCutTest {
    private static final int STATES = 100;

    /** In the counter-test nearly every state has lost a message, so a few states suffice. */
    private static final int STATES_OF_LOSSES = 20;

    private static final int MESSAGES = 800;

    @TempDir private Path folder;

    @BeforeEach
    void skipWithoutStrace() throws InterruptedException {
        Assumptions.assumeTrue(
                PowerCut.possible(), "needs strace, and permission to trace a process");
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
                () -> "too few checkpoints for a valid result: " + verdict);
    }

    @Test
    void theReplayFindsLossesWithoutASyncForEachCommit() throws Exception {
        PowerCut.Verdict verdict = replay(PowerCut.Setting.NORMAL, STATES_OF_LOSSES);
        assertTrue(verdict.losing() > 0, () -> "the replay found no loss: " + verdict);
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
