import { Command, InvalidArgumentError } from 'commander'
import {
  parseBucket,
  parseCount,
  parseDuration,
  parseId,
  parseShare,
  parseTime,
  withFilters,
} from './arguments.ts'
import type { CommandContext } from './command.ts'
import { audit } from './commands/audit.ts'
import { compare } from './commands/compare.ts'
import { dropLetters, listLetters, showLetter } from './commands/dead.ts'
import { replayLetters } from './commands/dead-replay.ts'
import { deleteTraces } from './commands/delete.ts'
import { doctor } from './commands/doctor.ts'
import { drill } from './commands/drill.ts'
import { explain } from './commands/explain.ts'
import { exportTraces } from './commands/export.ts'
import { importFile } from './commands/import.ts'
import { migrate } from './commands/migrate.ts'
import { rebuildStats } from './commands/rebuild-stats.ts'
import { runCommand } from './commands/run-command.ts'
import { listRunning } from './commands/running.ts'
import { showTrace } from './commands/show-trace.ts'
import { findSimilar } from './commands/similar.ts'
import { listSkills } from './commands/skills.ts'
import { showStats, showSteps } from './commands/stats.ts'
import { listStuck } from './commands/stuck.ts'
import { tail } from './commands/tail.ts'
import { listTraces } from './commands/traces.ts'
import { addFailureCommands } from './failure-commands.ts'
import { examples } from './help-examples.ts'
import { addRetention } from './retention-commands.ts'
import { JSON_OPTION, limit } from './usual-options.ts'

/** Runs an action with the context, which is made for it alone; what it gives is the exit code. */
export type WithContext = (action: (context: CommandContext) => Promise<unknown>) => Promise<void>

/** The command line: names, options, help. What a command does is in its own file. */
export function makeProgram(withContext: WithContext, version: string): Command {
  const program = new Command('stepwell')
    .description('Execution traces: what ran, where it failed or hangs, whether that was seen before')
    .version(version)
    .exitOverride()
    .enablePositionalOptions()
    .helpCommand(true)
    .showHelpAfterError('(stepwell <command> --help shows examples)')
    .addHelpText(
      'after',
      `
Environment:
  DATABASE_URL                Postgres that the traces are in
  DATABASE_REPLICA_URL        a replica of it that reading commands ask instead
  REDIS_URL                   Redis that producers write to: tail, running, stuck, import, run
  STEPWELL_NAMESPACE          prefix of the Redis keys (stepwell)
  STEPWELL_SCHEMA             Postgres schema of the tables (the search path)
  STEPWELL_SHARDS             number of streams, as producers and workers have it (1)
  STEPWELL_RETENTION_CLASSES  what retention goes by, as workers have it
  STEPWELL_RETENTION_MONTHS   whole months that it keeps, as workers have it
  NO_COLOR                    no colour

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done`,
    )
  const command = (usage: string, text: string): Command =>
    program.command(usage).description(text).exitOverride().allowExcessArguments(false)

  command('migrate', 'bring the database up to date')
    .addHelpText('after', examples('migrate', 'migrate && stepwell-worker'))
    .action(() => withContext(migrate))

  withFilters(command('traces', 'list traces, newest first'))
    .option(...limit(20))
    .option('--cursor <cursor>', 'another page: what a page said')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'traces --status failed --since 1h',
        'traces --skill docker-build --min-duration 5s',
        'traces --metadata env=prod --step push --json',
        'traces --failed-step push --error "connection refused"',
      ),
    )
    .action((options) => withContext((context) => listTraces(context, options)))

  command('trace <id>', 'show one trace, by its id or execution id, as a waterfall')
    .option('--all', 'all steps, however many (else 200)')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples('trace 0199a0b0-c0d0-7000-8000-000000000001', 'trace exec-123', 'trace exec-123 --json'),
    )
    .action((id, options) => withContext((context) => showTrace(context, id, options)))

  command('compare <a> <b>', 'show what differs between two traces: steps side by side, metadata')
    .option('--all', 'also steps that are alike, however many')
    .option(...limit(1_000))
    .option(...JSON_OPTION)
    .addHelpText('after', examples('compare exec-122 exec-123', 'compare exec-122 exec-123 --json'))
    .action((a, b, options) => withContext((context) => compare(context, a, b, options)))

  command('similar <text>', 'find failures whose message is like this one')
    .option(...limit(10))
    .option('--threshold <0..1>', 'how much alike at least (0.3)', parseShare)
    .option('--skill <name>', 'of this skill')
    .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago', (text) => parseTime(text))
    .option('--until <time>', 'started until', (text) => parseTime(text))
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples('similar "connection timeout redis"', 'similar "exit code 3" --since 7d --threshold 0.6'),
    )
    .action((text, options) => withContext((context) => findSimilar(context, text, options)))

  addFailureCommands(program, withContext)

  command('explain', 'show what sets failing runs apart from good ones: metadata, steps, durations')
    .option('--skill <name>', 'runs of this skill')
    .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago (7d)', (text) => parseTime(text))
    .option('--until <time>', 'started until (now)', (text) => parseTime(text))
    .option('--baseline-since <time>', 'good runs of another time: since', (text) => parseTime(text))
    .option('--baseline-until <time>', 'good runs of another time: until (--since)', (text) =>
      parseTime(text),
    )
    .option(
      '--sample <n>',
      'runs a side that are looked at, up to 10000',
      (text) => parseCount(text, 10, 10_000),
      1_000,
    )
    .option(...limit(30))
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'explain --skill docker-build',
        'explain --skill docker-build --since 1h --baseline-since 7d',
        'explain --since 24h --json',
      ),
    )
    .action((options) => withContext((context) => explain(context, options)))

  command('skills', 'list skills: runs, failures, durations')
    .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago', (text) => parseTime(text))
    .option('--until <time>', 'started until', (text) => parseTime(text))
    .option(...limit(100))
    .option(...JSON_OPTION)
    .addHelpText('after', examples('skills', 'skills --since 24h --json'))
    .action((options) => withContext((context) => listSkills(context, options)))

  const withWindow = (stats: Command): Command =>
    stats
      .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago (24h)', (text) => parseTime(text))
      .option('--until <time>', 'started until (now)', (text) => parseTime(text))
      .option(...limit(100))
      .option(...JSON_OPTION)

  withWindow(
    command('stats [skill]', 'show how often skills run and fail, and how long they take; of one, or of all'),
  )
    .option('--bucket <length>', 'over time: minute, hour, day, week, or 5m, 6h, 2d', parseBucket)
    .addHelpText(
      'after',
      examples('stats', 'stats docker-build --since 30d --bucket day', 'stats --since 2026-11-01 --json'),
    )
    .action((skill, options) => withContext((context) => showStats(context, skill, options)))

  withWindow(command('steps <skill>', 'show which steps of a skill take the time, and which fail'))
    .option('--bucket <length>', 'with --json also over time: minute, hour, day, week, or 5m', parseBucket)
    .addHelpText(
      'after',
      examples('steps docker-build', 'steps docker-build --since 30d --bucket day --json'),
    )
    .action((skill, options) => withContext((context) => showSteps(context, skill, options)))

  command('rebuild-stats', 'make statistics anew from the traces; they stay exact meanwhile')
    .option('--resume', 'throw nothing away, only go on with what is missing')
    .addHelpText('after', examples('rebuild-stats', 'rebuild-stats --resume'))
    .action((options) => withContext((context) => rebuildStats(context, options)))

  command('running', 'list what runs now, and in which step')
    .option(...limit(100))
    .option(...JSON_OPTION)
    .addHelpText('after', examples('running', 'running --json'))
    .action((options) => withContext((context) => listRunning(context, options)))

  command('stuck', 'list what runs for longer than such runs take, and the step it hangs in')
    .option('--skill <name>', 'of this skill')
    .option('--quantile <0..1>', 'longer than this share of the runs of its skill took (0.99)', parseQuantile)
    .option('--fallback <duration>', 'of a skill with too few runs: longer than this (1h)', parseDuration)
    .option(...limit(100))
    .option(...JSON_OPTION)
    .addHelpText('after', examples('stuck', 'stuck --skill docker-build --quantile 0.95', 'stuck --json'))
    .action((options) => withContext((context) => listStuck(context, options)))

  command('tail', 'follow starts, steps and ends as they happen, until Ctrl-C')
    .option('--since <time>', 'begin in the past: 30s, 10m, a time', (text) => parseTime(text))
    .option('--skill <name>', 'only of this skill')
    .option('--json', 'a JSON document a line')
    .addHelpText(
      'after',
      examples('tail', 'tail --since 10m --skill docker-build', 'tail --json | jq .event'),
    )
    .action((options) => withContext((context) => tail(context, options)))

  command('import <file>', 'import traces from NDJSON, one a line; - is standard input')
    .option(
      '--timeout <duration>',
      'give up when no worker stores anything for this long',
      parseDuration,
      60_000,
    )
    .addHelpText(
      'after',
      `
A line: {"skill_name", "started_at", "status", "steps": [{"name", "duration_ms", "status", "timestamp"?, "error_message"?, "id"?,
"parent_id"?, "attributes"?}], "trace_id"?, "execution_id"?, "completed_at"?, "total_duration_ms"?, "error_message"?, "metadata"?}
Without trace_id the id follows from the content: importing a file twice changes nothing. A worker must be running.
${examples('import runs.ndjson', 'export --since 7d | DATABASE_URL=… REDIS_URL=… stepwell import -')}`,
    )
    .action((file, options) => withContext((context) => importFile(context, file, options)))

  withFilters(command('export', 'write traces as NDJSON, as import takes them'))
    .option('--limit <n>', 'at most this many, the newest', (text) => parseCount(text))
    .addHelpText(
      'after',
      examples('export > all.ndjson', 'export --skill docker-build --since 7d | gzip > week.gz'),
    )
    .action((options) => withContext((context) => exportTraces(context, options)))

  command('delete', 'delete a trace, or all traces of an execution, for good')
    .option('--trace <id>', 'this trace', parseId)
    .option('--execution <id>', 'all traces with this execution id')
    .addHelpText(
      'after',
      examples('delete --execution exec-123', 'delete --trace 0199a0b0-c0d0-7000-8000-000000000001'),
    )
    .action((options) => withContext((context) => deleteTraces(context, options)))

  command(
    'run <command...>',
    'run a command as a trace: exit code as status, the last line of stderr as error',
  )
    .usage('[options] -- <command...>')
    .option('--name <skill>', 'name of the skill (the command)')
    .option('--execution <id>', 'execution id of the trace')
    .passThroughOptions()
    .addHelpText(
      'after',
      examples('run -- make test', 'run --name nightly --execution 2026-11-24 -- ./backup.sh /data'),
    )
    .action((words, options) => withContext((context) => runCommand(context, words, options)))

  command('doctor', 'look at Redis, Postgres and the workers, and say what to do')
    .option(
      '--audit [ids]',
      'where each trace is: those of a file (ids, or JSON with trace_id, one a line), else of the streams',
    )
    .option('--drill', 'record runs, kill a worker of its own in the middle of them, and count')
    .option('--runs <n>', 'of a drill', (text) => parseCount(text, 10), 2_000)
    .option('--worker <program>', 'of a drill: where the worker is', 'stepwell-worker')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples('doctor', 'doctor --json', 'doctor --audit emitted-ids.txt', 'doctor --drill --runs 5000'),
    )
    .action(({ audit: ids, drill: isDrill, ...options }) =>
      withContext((context) => {
        if (isDrill) return drill(context, options)
        if (ids !== undefined) return audit(context, ids === true ? undefined : ids, options)
        return doctor(context, options)
      }),
    )

  const dead = program.command('dead').description('what could not be stored: list, show, replay, drop')
  const deadCommand = (usage: string, text: string): Command =>
    dead.command(usage).description(text).exitOverride().allowExcessArguments(false)
  const reasonOption = ['--reason <reason>', 'those with this reason, word by word'] as const
  deadCommand('list', 'list dead letters by reason, then the newest of them')
    .option(...reasonOption)
    .option(...limit(20))
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'dead list',
        'dead list --reason "v: unknown frame version \'9\': this worker reads 1"',
        'dead list --json',
      ),
    )
    .action((options) => withContext((context) => listLetters(context, options)))
  deadCommand('show <letter>', 'show one, with all that came')
    .option(...JSON_OPTION)
    .addHelpText('after', examples("dead show 'stepwell:{0}:events/1764000000000-0'"))
    .action((letter, options) => withContext((context) => showLetter(context, letter, options)))
  deadCommand('replay [letters...]', 'send them once more, all or those named: after an upgrade, or a repair')
    .option(...reasonOption)
    .option('--dry-run', 'only say what would be sent, and what would stay')
    .addHelpText('after', examples('dead replay --dry-run', 'dead replay'))
    .action((letters, options) => withContext((context) => replayLetters(context, letters, options)))
  deadCommand('drop [letters...]', 'remove them for good')
    .option(...reasonOption)
    .option('--all', 'all of them')
    .option('--dry-run', 'only say how many')
    .addHelpText(
      'after',
      examples('dead drop --all --dry-run', "dead drop 'stepwell:{0}:events/1764000000000-0'"),
    )
    .action((letters, options) => withContext((context) => dropLetters(context, letters, options)))
  dead.addHelpText('after', examples('dead list', 'dead replay --dry-run', 'dead drop --all')).exitOverride()

  addRetention(program, withContext)
  return program
}

function parseQuantile(text: string): number {
  const share = parseShare(text)
  if (share === 0 || share === 1) throw new InvalidArgumentError('Write a number between 0 and 1')
  return share
}
