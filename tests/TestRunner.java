///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Runs every test in tests/
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES *Test.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/**
 * Builds every {@code *Test.java} into one jar, which {@link TestMain} scans. A new file needs an
 * entry only in the table below; {@code ReadmeTest} compares the table with the files.
 *
 * <p>A new test belongs in the class with its subject:
 *
 * <pre>
 * bytes to a request, replies, their texts       ProtocolTest, RepliesTest; hostile: ParserFuzzTest
 * requests and replies over a socket             WireTest, ClassicServerTest; hostile: WireFuzzTest
 * a new verb or refusal, in every place          VerbsTest
 * slow clients, too many clients                 DeadlinesTest, ServerLimitsTest
 * the engine: its start, acceptor and close      MsgServerTest
 * a signal or a kill ends a process              ShutdownTest, DurabilityTest; power: PowerCutTest
 * options, exit codes, output of a program       ServerCommandTest, ClientCommandTest
 * the same for both programs                     ProgramTest; started by JBang: JBangTest
 * the log and --trace                            LogTest, TraceTest, NoTextInTheLogTest
 * messages kept on any database                  MessageStoreTest, BigMailboxTest
 * a database that fails                          StoreFaultsTest
 * SQLite: the value of --store                   StorePlaceTest
 * SQLite: the file of an open store              StoreFileTest
 * SQLite: two servers on a file, a moved file    OneServerOneFileTest
 * SQLite: foreign files, damaged stores          ForeignFilesTest
 * PostgreSQL: bad network, outage, shared        PostgresTest, PostgresAwayTest, ScaleOutTest
 * TLS: keys, the server's side, owners of names  TlsTest, TlsServerTest, OwnersTest
 * TLS: servers that the client trusts            TrustTest, KnownServersTest
 * the client: requests, menu, at a terminal      MsgClientTest, MenuTest, PromptTest
 * the launcher, the check                        LauncherTest, CheckTest
 * a document                                     ReadmeTest, LessonTest, OperatingTest
 * </pre>
 *
 * <p>Most tests need only a server in this JVM ({@code support/Engine}). Tests of signals,
 * descriptors, memory and the environment need a process ({@code support/ServerProcess}).
 */
final class TestRunner {}
