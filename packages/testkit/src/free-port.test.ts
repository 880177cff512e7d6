import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { freePort } from './free-port.ts'

const MODULE = fileURLToPath(new URL('./free-port.ts', import.meta.url))
/** So many that some would be the same if they were drawn without a word to one another. */
const COUNT = 300

it.runIf(process.platform === 'linux')(
  'gives no port twice, nor one that another process has been given',
  async () => {
    const program = `import { freePort } from ${JSON.stringify(MODULE)}
    const ports = await Promise.all(Array.from({ length: ${COUNT} }, freePort))
    console.log(JSON.stringify(ports))
    process.stdin.resume()`
    const others = Array.from({ length: 2 }, () => {
      const running = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
      return { running, child: running.child }
    })
    const mine = Promise.all(Array.from({ length: COUNT }, freePort))
    const theirs = await Promise.all(
      others.map(
        ({ child }) =>
          new Promise<number[]>((resolve) => child.stdout?.once('data', (text) => resolve(JSON.parse(text)))),
      ),
    )
    const all = [...(await mine), ...theirs.flat()]
    expect(new Set(all).size).toBe(3 * COUNT)
    for (const { child, running } of others) {
      child.stdin?.end()
      await running
    }
  },
)
