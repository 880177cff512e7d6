import { type Command, CommanderError } from 'commander'
import { expect, test } from 'vitest'
import { makeProgram } from './program.ts'

test('the help of each command has examples', () => {
  const without: string[] = []
  const look = (command: Command): void => {
    let help = ''
    command.configureOutput({
      writeOut: (text) => {
        help += text
      },
    })
    command.outputHelp()
    if (command.commands.length === 0 && !/Examples:\n {2}\$ stepwell/.test(help))
      without.push(command.name())
    for (const one of command.commands) look(one)
  }
  look(makeProgram(async () => {}, '0.0.0'))
  expect(without).toEqual([])
})

/** What a call says on stderr that cannot be parsed. */
async function refusal(...words: string[]): Promise<string> {
  let said = ''
  const program = makeProgram(async () => {}, '0.0.0')
  const listen = (command: Command): void => {
    command.configureOutput({
      writeErr: (text) => {
        said += text
      },
    })
    for (const one of command.commands) listen(one)
  }
  listen(program)
  await expect(program.parseAsync(words, { from: 'user' }), words.join(' ')).rejects.toThrow(CommanderError)
  return said
}

test('an option that cannot be used is named as it was typed, with its value and with what to write', async () => {
  const ID = '019ac678-d900-7000-8000-000000000001'
  const cases: [words: string[], option: string, advice: string][] = [
    [['traces', '--limit', '0'], '--limit <n>', 'Write a whole number, from 1 to 1000'],
    [['skills', '--limit', '5000'], '--limit <n>', 'Write a whole number, from 1 to 1000'],
    [['export', '--limit', '1.5'], '--limit <n>', 'Write a whole number, 1 or more'],
    [['traces', '--since', 'yesterday'], '--since <time>', 'Write a time: '],
    [['explain', '--baseline-until', '2026-02-30'], '--baseline-until <time>', 'Write a time: '],
    [['failures', '--new-since', '1x'], '--new-since <time>', 'Write a duration: '],
    [['traces', '--min-duration', '5'], '--min-duration <duration>', 'Write a duration: '],
    [['stuck', '--fallback', 'long'], '--fallback <duration>', 'Write a duration: '],
    [['traces', '--metadata', 'env'], '--metadata <key=value>', 'Write key=value'],
    [['traces', '--parent', 'zzz'], '--parent <id>', 'Write a trace id: a UUID'],
    [['export', '--root', ID.slice(1)], '--root <id>', 'Write a trace id: a UUID'],
    [['delete', '--trace', 'x'], '--trace <id>', 'Write a trace id: a UUID'],
    [
      ['traces', '--status', 'done'],
      '--status <status...>',
      'Allowed choices are running, success, failed, timeout',
    ],
    [['similar', 'x', '--threshold', '2'], '--threshold <0..1>', 'Write a number from 0 to 1'],
    [['stuck', '--quantile', '1'], '--quantile <0..1>', 'Write a number between 0 and 1'],
    [['explain', '--sample', '5'], '--sample <n>', 'Write a whole number, from 10 to 10000'],
    [
      ['stats', '--bucket', '90s'],
      '--bucket <length>',
      'Write minute, hour, day, week, or a duration of whole minutes',
    ],
    [['doctor', '--drill', '--runs', '9'], '--runs <n>', 'Write a whole number, 10 or more'],
    [
      ['retention', 'plan', '--keep', 'success=1d'],
      '--keep <class=days>',
      'retention of success: 2 to 36500 days',
    ],
    [['retention', 'plan', '--month', '2026-13'], '--month <month>', 'Write a month: 2026-03'],
    [['retention', 'apply', '--min-share', ''], '--min-share <0..1>', 'Write a number from 0 to 1'],
  ]
  for (const [words, option, advice] of cases)
    expect(await refusal(...words)).toContain(
      `error: option '${option}' argument '${words.at(-1)}' is invalid. ${advice}`,
    )
})
