import { parseRetentionRules } from '@stepwell/storage'
import { type Command, InvalidArgumentError } from 'commander'
import { parseCount, parseShare } from './arguments.ts'
import type { CommandContext } from './command.ts'
import { applyPlan, showPlan } from './commands/retention.ts'
import { examples } from './help-examples.ts'

/** Adds `retention plan` and `retention apply`. */
export function addRetention(
  program: Command,
  withContext: (action: (context: CommandContext) => Promise<unknown>) => Promise<void>,
): void {
  const retention = program
    .command('retention')
    .description('what is kept for how long: see what would go, and let it go')
  const command = (usage: string, text: string): Command =>
    retention
      .command(usage)
      .description(text)
      .exitOverride()
      .allowExcessArguments(false)
      .option(
        '--keep <class=days>',
        'how long a class of finished runs is kept; may be given again (STEPWELL_RETENTION_CLASSES)',
        (rule: string, before: string[] = []) => [...before, checkRule(rule)],
      )
      .option(
        '--months <n>',
        'whole months to keep, whatever the classes say (STEPWELL_RETENTION_MONTHS)',
        (text) => parseCount(text),
      )
      .option(
        '--month <month>',
        'only this month, like 2026-03; may be given again',
        (month: string, before: string[] = []) => [...before, checkMonth(month)],
      )
      .option(
        '--min-share <0..1>',
        'least share of a month that must go for it to be rewritten (0.05)',
        parseShare,
      )
      .option('--json', 'one JSON document on stdout')
  const classes = `
A class is a status, or a skill and a status: success=7d, docker-build/failed=365d, docker-build/*=30d, *=400d; the most specific one
counts. What commas, spaces and percent signs a skill's name has are percent-encoded. A month is looked at when its last day is as old
as the class is kept: everything is kept at least that long, and up to a month longer. What runs is never removed.
`
  command('plan', 'show what would go and what would stay, by month and class; changes nothing')
    .addHelpText(
      'after',
      `${classes}${examples('retention plan', 'retention plan --keep success=7d --keep failed=90d --json')}`,
    )
    .action((options) => withContext((context) => showPlan(context, options)))
  command('apply', 'remove what is past its time: months are dropped whole, or rewritten without it')
    .option('--export <folder>', 'first write what goes to files there, as `stepwell import` takes them')
    .addHelpText(
      'after',
      `${classes}${examples('retention apply --keep success=7d --keep failed=90d', 'retention apply --months 6 --export /backup/traces')}`,
    )
    .action((options) => withContext((context) => applyPlan(context, options)))
  retention
    .addHelpText('after', examples('retention plan', 'retention apply --export /backup/traces'))
    .exitOverride()
}

function checkMonth(text: string): string {
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text
  throw new InvalidArgumentError('Write a month: 2026-03')
}

function checkRule(text: string): string {
  try {
    parseRetentionRules(text)
    return text
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}
