import type { Command } from 'commander'
import { parseTime } from './arguments.ts'
import { listFailures, showFailure } from './commands/failures.ts'
import { noteFailure } from './commands/failures-note.ts'
import { rebuildFailureMarks } from './commands/failures-rebuild.ts'
import { UsageError } from './errors.ts'
import { examples } from './help-examples.ts'
import type { WithContext } from './program.ts'
import { JSON_OPTION, limit } from './usual-options.ts'

/** `stepwell failures …`: what kinds of failures there are. */
export function addFailureCommands(program: Command, withContext: WithContext): void {
  const failures = program
    .command('failures')
    .description('groups of failures: list, show, note, rebuild')
    .exitOverride()
  const command = (usage: string, text: string, isDefault = false): Command =>
    failures.command(usage, { isDefault }).description(text).exitOverride().allowExcessArguments(false)
  const withWindow = (one: Command): Command =>
    one
      .option('--skill <name>', 'of this skill')
      .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago (30d)', (text) => parseTime(text))
      .option('--until <time>', 'started until', (text) => parseTime(text))

  withWindow(command('list', 'list what failed, the most frequent first', true))
    // It is also what `failures` alone does, so that a word which is no command comes here.
    .allowExcessArguments(true)
    .option('--new-since <time>', 'only what never failed before', (text) => parseTime(text))
    .option(...limit(20))
    .option('--cursor <cursor>', 'the page after: what the page before said')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples('failures', 'failures list --since 24h --skill deploy', 'failures list --new-since 7d --json'),
    )
    .action((options, { args: [word] }: Command) => {
      if (word !== undefined)
        throw new UsageError(
          `'${word}' is no command of failures: list, show, note, rebuild. One group: stepwell failures show <group>`,
        )
      return withContext((context) => listFailures(context, options))
    })

  withWindow(command('show <group>', 'show one: where and when it failed, examples, what fixed it'))
    .option(...limit(10))
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples('failures show 9f2c4a51d07be863', 'failures show 9f2c4a51d07be863 --since 7d'),
    )
    .action((group, options) => withContext((context) => showFailure(context, group, options)))

  command(
    'note <group> [text]',
    'keep a note on it, like what fixed it; shown there, and with similar failures',
  )
    .option('--remove', 'remove it')
    .addHelpText(
      'after',
      examples(
        'failures note 9f2c4a51d07be863 "certificate expired: renew with make certs"',
        'failures note 9f2c4a51d07be863 --remove',
      ),
    )
    .action((group, text, options) => withContext((context) => noteFailure(context, group, text, options)))

  command(
    'rebuild',
    'find failures by what they say: those stored before that was kept, or by older rules; then group them',
  )
    .option('--all', 'look at every failure, not only at those that need it')
    .option(...JSON_OPTION)
    .addHelpText('after', examples('failures rebuild', 'failures rebuild --all'))
    .action((options) => withContext((context) => rebuildFailureMarks(context, options)))

  failures.addHelpText('after', examples('failures', 'failures show 9f2c4a51d07be863', 'failures --help'))
}
