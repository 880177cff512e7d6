import type { Command } from 'commander'
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
