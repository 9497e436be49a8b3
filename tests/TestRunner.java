///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Runs every test in tests/
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES *Test.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/**
 * Every test in one jar, which {@link TestMain} scans: a new {@code *Test.java} needs no entry.
 *
 * <p>Where does a new test go? Into the class that is named after the thing it is about:
 *
 * <pre>
 * bytes to a request, replies, their texts       ProtocolTest, RepliesTest; hostile: ParserFuzzTest
 * requests and replies over a socket             WireTest, ClassicServerTest; hostile: WireFuzzTest
 * a new verb or refusal, in every place          VerbsTest
 * a client that is too slow, too many clients    DeadlinesTest, ServerLimitsTest
 * the engine: its start, acceptor and close      MsgServerTest
 * a process that ends by a signal, or is killed  ShutdownTest, DurabilityTest; power: PowerCutTest
 * options, exit codes, output of a program       ServerCommandTest, ClientCommandTest
 * the same for both programs                     ProgramTest; started by JBang: JBangTest
 * the log and --trace                            LogTest, TraceTest, NoTextInTheLogTest
 * messages kept on any database                  MessageStoreTest, BigMailboxTest
 * a database that fails                          StoreFaultsTest
 * SQLite: the value of --store                   StorePlaceTest
 * SQLite: the file of an open store              StoreFileTest
 * SQLite: a second server on a file, a file gone OneServerOneFileTest
 * SQLite: no store of ours, a damaged one        ForeignFilesTest
 * PostgreSQL: reached badly, away, shared        PostgresTest, PostgresAwayTest, ScaleOutTest
 * TLS: keys, the server's side, who owns a name  TlsTest, TlsServerTest, OwnersTest
 * TLS: whom the client trusts                    TrustTest, KnownServersTest
 * the client: requests, menu, at a terminal      MsgClientTest, MenuTest, PromptTest
 * the launcher, the check                        LauncherTest, CheckTest
 * a document                                     ReadmeTest, LessonTest, OperatingTest
 * </pre>
 *
 * <p>One server in this JVM ({@code support/Engine}) is enough for most of them. A process ({@code
 * support/ServerProcess}) is for signals, descriptors, memory and the environment.
 */
final class TestRunner {}
