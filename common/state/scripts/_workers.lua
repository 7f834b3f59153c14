-- The names behind the workers' numbers that records hold. Key: route..':workers' (hash: 'i'..number -> name).

-- worker_names(root) -> names, add: `add(number)` puts the number and its name into `names`, once
local function worker_names(root)
  local names, known = {}, {}
  local function add(number)
    if known[number] then return end
    known[number] = true
    names[#names + 1] = number
    names[#names + 1] = redis.call('HGET', root .. ':workers', 'i' .. number) or ''
  end
  return names, add
end
