import type { Command } from 'commander'
import { rebuildFailureMarks } from './commands/failures-rebuild.ts'
import { examples } from './help-examples.ts'
import type { WithContext } from './program.ts'
import { JSON_OPTION } from './usual-options.ts'

/** `stepwell failures …`: what kinds of failures there are. */
export function addFailureCommands(program: Command, withContext: WithContext): void {
  const failures = program
    .command('failures')
    .description('groups of failures: list, show, note, rebuild')
    .exitOverride()
  const command = (usage: string, text: string): Command =>
    failures.command(usage).description(text).exitOverride().allowExcessArguments(false)

  command(
    'rebuild',
    'find failures by what they say: those stored before that was kept, or by older rules; then group them',
  )
    .option('--all', 'look at every failure, not only at those that need it')
    .option(...JSON_OPTION)
    .addHelpText('after', examples('failures rebuild', 'failures rebuild --all'))
    .action((options) => withContext((context) => rebuildFailureMarks(context, options)))
}
