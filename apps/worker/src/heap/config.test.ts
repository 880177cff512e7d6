import { expect, test } from 'vitest'
import { missingHeapFlags } from './config.ts'

test('what the command line or NODE_OPTIONS asks for counts, however it is spelled', () => {
  const [semi, old] = ['--max-semi-space-size=8', '--max-old-space-size=1536'] as const
  expect(missingHeapFlags([], '')).toEqual([semi, old])
  expect(missingHeapFlags(['--max-old-space-size=160'], '--inspect')).toEqual([semi])
  expect(missingHeapFlags(['--enable-source-maps'], '--max_semi_space_size=64')).toEqual([old])
  expect(missingHeapFlags([semi, old], '')).toEqual([])
})
