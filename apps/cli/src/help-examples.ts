/** Lines of help that show how a command is called. */
export const examples = (...lines: string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ stepwell ${line}`).join('\n')}`
