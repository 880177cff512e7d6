// V8, Java, .NET; Java's `... 12 more`; Ruby; PHP. Go's frames are a path with its line.
const FRAME =
  /^\s+at \S|^\s*\.\.\. \d+ (?:more|common frames omitted)|^\s+from \S+:\d+:in |^#\d+ +\S|^\t\S+:\d+(?: \+0x[\da-f]+)?$/
const PYTHON_FRAME = /^\s*File ".*", line \d+/

/**
 * A message without its stack frames: where a failure passed through says less about what it is than what it says, and changes with
 * every release. Of a Python traceback the lines of code below a frame go too.
 */
export function withoutStackFrames(message: string): string {
  if (!message.includes('\n')) return message
  const kept: string[] = []
  let frameIndent = -1
  for (const line of message.split('\n')) {
    const indent = line.length - line.trimStart().length
    if (frameIndent >= 0 && indent > frameIndent) continue
    frameIndent = PYTHON_FRAME.test(line) ? indent : -1
    if (frameIndent < 0 && !FRAME.test(line)) kept.push(line)
  }
  return kept.join('\n')
}
