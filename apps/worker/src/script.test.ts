import { expect, test } from 'vitest'
import { redisCode } from './script.ts'

const replyError = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })

test('the code of a reply is its first word, also where Redis before 7 wraps it because a script met it', () => {
  expect(redisCode(replyError('OOM command not allowed'))).toBe('OOM')
  expect(redisCode(replyError('WRONGTYPE Operation script: 6cfe, on @user_script:3.'))).toBe('WRONGTYPE')
  const wrapped = 'ERR Error running script (call to f_6cfe): @user_script:3: '
  expect(redisCode(replyError(`${wrapped}-OOM command not allowed`))).toBe('OOM')
  expect(redisCode(replyError(`${wrapped}@user_script: 3: NOGROUP No such key`))).toBe('NOGROUP')
  expect(redisCode(replyError('@user_script: 3: -OOM command not allowed'))).toBe('OOM')
  expect(redisCode(replyError('ERR no such key'))).toBe('ERR')
  expect(redisCode(new Error('OOM'))).toBeUndefined()
})
