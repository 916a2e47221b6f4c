-- Proves that the way through this server works, and lifts the journal: to the server's clock, so that the place of a
-- quiet connection stays young, and above what the gateway has seen, so that ids never go back after a failover.
-- KEYS: journal, epoch
-- ARGV: channel, highest id seen, epoch to start with, run id of this server ('': whichever it is), 1 on attaching, events,
--   age, journal entries, count of partitions ('': whichever it is), for how long no other count may be claimed;
--   then, or nothing, the mark to leave: its number, for how long it is kept, epoch, number and end of the last mark whose
--   beacon was answered ('': none yet), epochs that the gateway has left, each with a blank before and after it (all of
--   these are '' where no mark is left); then, or nothing, for how long the gateway holds its retention in force;
--   then, or nothing, the run id of the server that the gateway has left to come here ('': none)
-- Answers: epoch, last id of the journal; an error PARTITIONS where the count is another, or none is set
--   With a mark also: when it ends, 1 if it cannot be known whether the history is still the one of the last mark
--   With a hold also: events, age, and journal entries that are in force; the two before are '' where no mark is left
-- Sends by PUBLISH, a local of the line before this file: 'PUBLISH', or on a cluster 'SPUBLISH'
local function above(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then
    return tonumber(a_ms) > tonumber(b_ms)
  end
  return tonumber(a_seq) > tonumber(b_seq)
end
-- Marks are fields of the hash, named as the channel of their gateway is: no key of their own can expire or be evicted.
local mark = string.match(ARGV[1], '}:(b:.*)$')
local marks, holds = (ARGV[11] or '') ~= '', ARGV[17] ~= nil
local kept = redis.call('HMGET', KEYS[2], 'epoch', 'run', 'age', 'replid', 'partitions', mark, 'far',
  'fenced', 'fenced_until', 'fenced_for')
-- An epoch that no gateway could have written is none, or no gateway could attach as long as it stands there.
local digits = string.match(kept[1] or '', '^%w+$')
if kept[1] and not (digits and #digits <= 5 and string.lower(digits) == digits and tonumber(digits, 36) < 2 ^ 24) then
  kept[1] = false
end
-- It is for the claim to set it where it was lost: whoever slept while it was changed would set the one before.
if ARGV[9] ~= '' and kept[5] ~= ARGV[9] then
  local told = { ['0'] = 'the number of partitions is being changed', [''] = 'no number of partitions is set' }
  local count = kept[5] or ''
  return redis.error_reply('PARTITIONS ' .. (told[count] or 'the namespace has ' .. count .. ' partitions'))
end
local epoch = kept[1]
local attaching = ARGV[5] == '1'
-- A server that is not the one before may have lost writes. So may the same one if it was a replica meanwhile: each time
-- it becomes a primary its replication id is another. Keeping streams longer than before makes places look young
-- whose streams are gone already; so do streams from before any gateway set an age, which publishers kept by their own.
-- So does a journal that is gone, which never expires: nobody can learn what was missed. All of these make the history
-- another one.
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
local journal
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      journal = info[i + 1]
    end
  end
end
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
-- The name of this server leads to another one, or did. What is published there is not here. Once
-- a resolver that is behind can no longer be the reason to come here, or by a gateway that has left
-- that other server, it is taken again, as another history.
local fenced_until = kept[8] == '1' and tonumber(kept[9] or '')
if fenced_until then
  local is_back = kept[10] and kept[10] ~= '' and kept[10] == ARGV[18]
  if not (attaching and (is_back or fenced_until <= tonumber(ms))) then
    return redis.error_reply('READONLY the name of this server leads to another one')
  end
end
local other_server = ARGV[4] ~= '' and (kept[2] and kept[2] ~= ARGV[4] or kept[4] and kept[4] ~= replid)
local longer = attaching and kept[3] and tonumber(ARGV[7]) > tonumber(kept[3]) or not kept[3]
-- The same server may have another history too: SWAPDB, RESTORE and DEBUG RELOAD put a copy in the place of the data. A
-- copy has an older mark of this gateway, or none, or an epoch that the gateway has left. The last id alone does not show
-- it: one publish lifts it above all that was seen. But it shows a copy that is younger than the last mark.
local went_back, unsure = false, false
if marks and epoch then
  if string.find(ARGV[16], ' ' .. epoch .. ' ', 1, true) then
    went_back = true
  elseif epoch == ARGV[13] then
    local found = tonumber(string.match(kept[6] or '', '^%d+') or 0)
    -- Others may have removed the mark since.
    unsure = tonumber(ms) >= tonumber(ARGV[15])
    went_back = not unsure and found < tonumber(ARGV[14]) or journal and above(ARGV[2], journal)
  end
end
if not epoch or not journal or other_server or longer or went_back or fenced_until then
  epoch = ARGV[3]
end
if epoch ~= kept[1] or kept[2] ~= ARGV[4] or kept[4] ~= replid or attaching then
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'run', ARGV[4], 'replid', replid)
end
-- Gateways that are set to keep different amounts agree on the most, so that no place is younger than its streams. What
-- is in force is lowered once no gateway has asked for it while it was held: to the most that others have asked for.
local in_force = { ARGV[6], ARGV[7], ARGV[8] }
if holds then
  local held_until = string.format('%.0f', tonumber(ms) + tonumber(ARGV[17]))
  for i, name in ipairs({ 'events', 'age', 'journal' }) do
    local held, next_most = name .. '_until', name .. '_next'
    local stored = redis.call('HMGET', KEYS[2], name, held, next_most)
    local own, most = tonumber(in_force[i]), tonumber(stored[1] or 0)
    if own < most then
      local others = string.format('%.0f', math.max(own, tonumber(stored[3] or 0)))
      if stored[2] and tonumber(stored[2]) <= tonumber(ms) then
        redis.call('HSET', KEYS[2], name, others, held, held_until, next_most, in_force[i])
        in_force[i] = others
      else
        redis.call('HSET', KEYS[2], held, stored[2] or held_until, next_most, others)
        in_force[i] = stored[1]
      end
    elseif own == most then
      redis.call('HSET', KEYS[2], held, held_until)
    elseif longer or name ~= 'age' then
      redis.call('HSET', KEYS[2], name, in_force[i], held, held_until)
    else
      -- A gateway of an earlier version has shortened it. Lengthening it takes another epoch, so it waits until this
      -- gateway attaches.
      in_force[i] = stored[1]
    end
  end
  if attaching or not kept[3] then
    redis.call('HSET', KEYS[2], 'fenced', '0', 'fenced_until', '')
  end
elseif attaching or not kept[3] then
  redis.call('HSET', KEYS[2], 'events', ARGV[6], 'age', ARGV[7], 'journal', ARGV[8], 'fenced', '0',
    'fenced_until', '')
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'until', string.format('%.0f', tonumber(ms) + tonumber(ARGV[10])))
end
local last = ms .. '-0'
if above(ARGV[2], last) then
  last = ARGV[2]
end
-- Ids that are further ahead of the clock than history is kept would stand still until it comes
-- there, and with them the age of all places. So beacons move them on by the time since the last
-- one. When that begins nobody knows what expired before, so all places become too old; more than
-- that is never needed. `far`: when the last such beacon came.
if holds then
  local age = tonumber(in_force[2])
  local function is_far(id)
    return tonumber(string.match(id, '^%d+')) - tonumber(ms) > age
  end
  local far = tonumber(kept[7] or '')
  if journal and (far or is_far(journal)) then
    local elapsed = far and math.min(math.max(tonumber(ms) - far, 0), age) or age
    local paced = string.format('%.0f-0', tonumber(string.match(journal, '^%d+')) + elapsed)
    if above(paced, last) then
      last = paced
    end
  end
  local lease = tonumber(ARGV[10])
  redis.call('HSET', KEYS[2], 'far', is_far(last) and ms or '', 'paced_until',
    string.format('%.0f', tonumber(ms) + lease), 'paced_keep', string.format('%.0f', 2 * age + lease))
end
if not journal then
  redis.call('XADD', KEYS[1], last, 'beacon', '')
elseif above(last, journal) then
  redis.call('XSETID', KEYS[1], last)
else
  last = journal
end
local answer = { epoch, last }
if marks then
  local ends = string.format('%.0f', tonumber(ms) + tonumber(ARGV[12]))
  -- A beacon of an earlier connection may come late: numbers only rise.
  local found = tonumber(string.match(kept[6] or '', '^%d+') or 0)
  redis.call('HSET', KEYS[2], mark, string.format('%.0f', math.max(found, tonumber(ARGV[11]))) .. ' ' .. ends)
  answer[3], answer[4] = ends, unsure and epoch == kept[1] and '1' or '0'
  -- Removes marks of gateways that are gone: a few at random, so that no beacon reads them all. Without the right to do
  -- so they stay, and do no harm.
  local some = redis.pcall('HRANDFIELD', KEYS[2], 8, 'WITHVALUES')
  for i = 1, #some, 2 do
    local ended = string.match(some[i], '^b:') and string.match(some[i + 1], '^%d+ (%d+)$')
    if ended and tonumber(ended) <= tonumber(ms) then
      redis.pcall('HDEL', KEYS[2], some[i])
    end
  end
end
redis.call(PUBLISH, ARGV[1], '1 ' .. last .. ' ' .. epoch)
if holds then
  answer = { epoch, last, answer[3] or '', answer[4] or '', in_force[1], in_force[2], in_force[3] }
end
return answer
