# pragma version 0.4.3
# pragma evm-version cancun

"""
@title CollectiveLearning
@license Apache-2.0
@author The colearn developers
@notice The driver of one collective learning experiment. Each round one member
        proposes new weights by the digest of a record; the others judge them on
        their own data and vote; enough approvals make them everyone's model.
@dev The rules are those of `colearn/rules.py`, to the bit: every action first lets
     time pass, then is allowed or refused. Rounds that nobody proposed in cost no
     transaction: they are computed from the time.

     There is no owner, no proxy and no upgrade. Members and rule change by the
     members' endorsements only, at the boundary of a round; a member alone rotates
     its own key.

     An action in the usual round reads and writes three slots: the `_head`, the
     sender's seat, and the digest proposed. Members and rule lie as the code of a
     contract of their own, the "group", which is written once and never called.

     Where votes are secret, members first commit to theirs and then reveal them, each
     by a transaction of its own; nobody can vote as another did before.

     Endorsements and rotations carry neither round nor nonce: each is a transaction of
     the member itself, of which the chain lets none happen twice. Signed messages, that
     somebody else submits, are votes only; they are bound to round and proposal.

     Where a committee is drawn, nothing of it is stored: who is in it is found again, from
     the proposal accepted last and the round, whenever somebody votes.

     A group is bound to 256 members, a phase to 2**26 - 1 seconds (two years).

     All that happens is in the events, in order: replaying them through the rules
     gives the whole state, each vote included.
"""

# How votes become a decision, as in `colearn.records.Rule`. Fractions are in lowest terms.
struct Rule:
    threshold_num: uint16
    threshold_den: uint16
    inclusive: bool
    proposer_votes: bool
    quorum_num: uint16
    quorum_den: uint16
    propose_seconds: uint32
    vote_seconds: uint32
    reveal_seconds: uint32
    committee: uint16
    governance_num: uint16
    governance_den: uint16

# A change that members endorse. What its kind does not need is empty.
struct Change:
    kind: uint256
    member: address
    successor: address
    rule: Rule

# What everybody may read of the experiment, at the present time. The phase is 0 while a
# proposal is awaited, 1 while votes are, 2 while commitments are, 3 while they are
# revealed. `voted` is a bitmap of members that voted; where votes are secret, of those
# whose commitments are not revealed yet.
struct State:
    current: bytes32
    round: uint256
    proposer: address
    deadline: uint256
    phase: uint256
    proposal: bytes32
    approvals: uint256
    cast: uint256
    voted: uint256
    changing: bool

# The last proposal that was decided; late votes on it are recorded. `voted` as above.
struct Last:
    decided: bool
    round: uint256
    proposal: bytes32
    voted: uint256

event Founded:
    experiment: bytes32
    initial: bytes32
    members: DynArray[address, MAX_MEMBERS]
    rule: Rule

event Proposed:
    round: uint256
    proposer: address
    proposal: bytes32

# A proposal together with signed votes: bit i of each bitmap stands for member i.
event ProposedWithVotes:
    round: uint256
    proposer: address
    proposal: bytes32
    approve: uint256
    reject: uint256
    abstain: uint256

# A vote, counted if its round was open; recorded without effect if it came late.
event Voted:
    round: uint256
    voter: address
    choice: uint256

# A commitment to a vote.
event Committed:
    round: uint256
    voter: address
    commitment: bytes32

# A vote that was committed to; counted, or recorded without effect, like any other.
event Revealed:
    round: uint256
    voter: address
    choice: uint256
    salt: bytes32

event Passed:
    round: uint256
    proposer: address

event Endorsed:
    member: address
    change: Change

# A member gives its place to another key of its own.
event Rotated:
    member: address
    successor: address

MAX_MEMBERS: constant(uint256) = 256

APPROVE: constant(uint256) = 1
REJECT: constant(uint256) = 2
ABSTAIN: constant(uint256) = 3

ADD: constant(uint256) = 1
REMOVE: constant(uint256) = 2
REPLACE: constant(uint256) = 3
SET_RULE: constant(uint256) = 4

# The head: what is remembered of the rounds, in one word. By first bit and size:
#   0    32  the live round
#   32   35  deadline: the time at which its phase ends
#   67    1  it has a proposal, and members reveal their votes
#   68    1  it has a proposal, and members that are drawn vote in the open
#   69    1  it has a proposal, and members commit to their votes
#   70    1  it has a proposal, and members vote in the open
#   71    1  a change takes effect when the next round opens
#   72    1  some proposal has been decided
#   73    1  the group has changed since
#   74    2  where in `_proposals` the proposal accepted last lies
#   76    2  where the proposal decided last lies
#   78    2  where the live proposal lies, or the next one will
#   80   32  the round of the proposal decided last
#   112  64  who voted on it, of members 0 to 63; where votes are secret, who has
#            committed to a vote and not revealed it yet
#   176  64  the same of the live proposal
#   240   8  how many approved it
#   248   8  how many voted otherwise
DEADLINE: constant(uint256) = 32
REVEALING: constant(uint256) = 2**67
DRAWN: constant(uint256) = 2**68
COMMITTING: constant(uint256) = 2**69
VOTING: constant(uint256) = 2**70
LIVE: constant(uint256) = REVEALING | DRAWN | COMMITTING | VOTING
CHANGING: constant(uint256) = 2**71
DECIDED: constant(uint256) = 2**72
PAST: constant(uint256) = 2**73
CURRENT: constant(uint256) = 74
LAST: constant(uint256) = 76
SPARE: constant(uint256) = 78
LAST_ROUND: constant(uint256) = 80
LAST_VOTED: constant(uint256) = 112
VOTED: constant(uint256) = 176
APPROVALS: constant(uint256) = 240
OTHERS: constant(uint256) = 248

ROUND_MASK: constant(uint256) = 2**32 - 1
DEADLINE_MASK: constant(uint256) = 2**35 - 1
VOTED_MASK: constant(uint256) = 2**IN_HEAD - 1
BEYOND_MASK: constant(uint256) = 2**192 - 1
BUT_COUNTS: constant(uint256) = 2**240 - 1
FROM_LAST: constant(uint256) = (2**104 - 1) * 2**72

# Members 0 to 63 have their bit in the head, the others in `_voted_beyond`.
IN_HEAD: constant(uint256) = 64

# A seat: a member's place, and a copy of what its acts need of group and rule, so that
# reading one word is enough. By first bit and size:
#   0   160  the group
#   160   8  the member's index
#   168   9  number of members
#   177   8  approvals that do not yet accept: one more does
#   185   8  votes that are not yet a quorum: one more is
#   193   8  votes other than approvals that may be: one more rejects
#   201  26  propose_seconds
#   227  26  vote_seconds
#   253   1  votes are secret
#   254   1  a committee is drawn
#   255   1  proposer_votes
INDEX: constant(uint256) = 160
SEATS: constant(uint256) = 168
TOO_FEW: constant(uint256) = 177
NO_QUORUM: constant(uint256) = 185
MOST_OTHERS: constant(uint256) = 193
TO_PROPOSE: constant(uint256) = 201
TO_VOTE: constant(uint256) = 227
SECRET: constant(uint256) = 253
COMMITTEE_TOO: constant(uint256) = 254
PROPOSER_TOO: constant(uint256) = 255
SEATS_MASK: constant(uint256) = 2**9 - 1
GROUP_MASK: constant(uint256) = 2**160 - 1
SECONDS_MASK: constant(uint256) = 2**26 - 1
MAX_SECONDS: constant(uint32) = 2**26 - 1

# A group's code, in words: size, the rule's fields in order, padding; then members, padded.
CHUNK: constant(uint256) = 16
CHUNK_BYTES: constant(uint256) = 32 * 16
MAX_WORDS: constant(uint256) = 16 + 256
SIZE: constant(uint256) = 0
RULE: constant(uint256) = 1
THRESHOLD_NUM: constant(uint256) = 1
THRESHOLD_DEN: constant(uint256) = 2
INCLUSIVE: constant(uint256) = 3
PROPOSER_VOTES: constant(uint256) = 4
QUORUM_NUM: constant(uint256) = 5
QUORUM_DEN: constant(uint256) = 6
PROPOSE_SECONDS: constant(uint256) = 7
VOTE_SECONDS: constant(uint256) = 8
REVEAL_SECONDS: constant(uint256) = 9
COMMITTEE: constant(uint256) = 10
GOVERNANCE_NUM: constant(uint256) = 11
GOVERNANCE_DEN: constant(uint256) = 12
MEMBERS: constant(uint256) = 16

# Every second bit, every second pair of bits, the lower half of each byte; each byte is 1.
IN_PAIRS: constant(uint256) = max_value(uint256) // 3
IN_FOURS: constant(uint256) = max_value(uint256) // 5
IN_OCTETS: constant(uint256) = max_value(uint256) // 17
EVERY_OCTET: constant(uint256) = max_value(uint256) // 255

# A committee is drawn by numbers below this, so many to a hash, from so many hashes at
# most: half of 256 members are found among 16,384 numbers, but for a chance below 2**-1000.
LANES: constant(uint256) = 2**16
LANES_A_HASH: constant(uint256) = 16
MOST_HASHES: constant(uint256) = 1_024

PARITY: constant(uint256) = 255
S_MASK: constant(uint256) = 2**255 - 1
# Half the order of secp256k1: of the two forms of a signature, the lower one is valid.
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)
DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME: constant(bytes32) = keccak256("CollectiveLearning")
VERSION: constant(bytes32) = keccak256("1")
VOTE_TYPE: constant(bytes32) = keccak256("Vote(uint256 round,bytes32 proposal,uint256 choice)")

# Digest of the record of what the members agreed on.
experiment: public(immutable(bytes32))

# The head, as it was after the last transaction: time may have passed since.
_head: uint256

# Digests of proposals: the one accepted last, the one decided last, the live one.
# Where they lie is in the head; a slot is used again, and never emptied.
_proposals: bytes32[3]

# Who voted on each, members 64 to 255, above 192 bits the round this is about. Where
# votes are secret, who has committed to a vote and not revealed it yet.
_voted_beyond: uint256[3]

# What they committed to, by member; of whom it holds is said above.
_commitments: bytes32[MAX_MEMBERS][3]

# Each member's seat; 0 for a stranger.
_seats: HashMap[address, uint256]

# The code that holds members and rule: of the live round; with all that is scheduled;
# of the last proposal decided, if the group has changed since.
_group: address
_next_group: address
_past_group: address

# The round with which members last agreed on a change: it names the group's
# endorsements. And whether they agreed on one that is still to come.
_since: uint256
_agreed: bool

# What endorsements call a member whose key was rotated, by the round above: they follow
# it to its new key.
_names: HashMap[uint256, HashMap[address, bytes32]]

# The change each member endorses, by index; how many endorse each, and which are
# scheduled. A change's digest tells the group, so that endorsements end with it.
_endorsed: bytes32[MAX_MEMBERS]
_backers: HashMap[bytes32, uint256]
_scheduled: HashMap[bytes32, bool]


@deploy
def __init__(
    _experiment: bytes32, initial: bytes32, members: DynArray[address, MAX_MEMBERS], rule: Rule
):
    """
    @notice Opens round 0 of an experiment.
    @param _experiment Digest of the record of what the members agreed on.
    @param initial Digest of the proposal that carries the first weights.
    @param members In join order, 2 to 256, all different.
    @param rule The voting rule.
    """
    experiment = _experiment
    self._check_members(members)
    self._check_rule(rule)
    self._proposals[0] = initial
    self._group = self._stored(members, rule)
    self._seat(self._group)
    deadline: uint256 = block.timestamp + convert(rule.propose_seconds, uint256)
    self._head = deadline << DEADLINE | 1 << SPARE
    log Founded(experiment=_experiment, initial=initial, members=members, rule=rule)


@external
def propose(round: uint256, proposal: bytes32):
    """
    @notice Puts a proposal up for the vote.
    @param round The open round, which must be the sender's turn.
    @param proposal Digest of the proposal's record.
    """
    head: uint256 = self._advanced()
    seat: uint256 = self._seats[msg.sender]
    self._check_turn(head, seat, round)
    self._head = self._with_proposal(head, seat, proposal)
    log Proposed(round=round, proposer=msg.sender, proposal=proposal)


@external
def propose_with_votes(
    round: uint256,
    proposal: bytes32,
    approve: uint256,
    reject: uint256,
    abstain: uint256,
    signatures: DynArray[uint256[2], MAX_MEMBERS],
):
    """
    @notice Puts a proposal up together with votes that members signed: a whole round
            in one transaction. Whose vote is left out may vote directly.
    @param round The open round, which must be the sender's turn.
    @param proposal Digest of the proposal's record.
    @param approve Bitmap of the members that approve: bit i stands for member i.
    @param reject Bitmap of the members that reject.
    @param abstain Bitmap of the members that abstain.
    @param signatures One for each bit set, in order of members: EIP-712 over
           `Vote(round, proposal, choice)`, in the compact form of EIP-2098.
    """
    head: uint256 = self._advanced()
    seat: uint256 = self._seats[msg.sender]
    self._check_turn(head, seat, round)
    head = self._with_proposal(head, seat, proposal)
    voted: uint256 = approve | reject | abstain
    assert voted == 0 or head & (VOTING | DRAWN) != 0, "colearn: wrong phase"
    self._check_bitmaps(seat, approve, reject, abstain)
    if head & DRAWN != 0:
        drawn: uint256 = self._drawn(self._proposals[head >> CURRENT & 3], round, seat)
        assert voted & ~drawn == 0, "colearn: not drawn"

    group: address = convert(seat & GROUP_MASK, address)
    domain: bytes32 = self._domain()
    yes: bytes32 = self._signing(domain, round, proposal, APPROVE)
    no: bytes32 = empty(bytes32)
    if reject != 0:
        no = self._signing(domain, round, proposal, REJECT)
    neither: bytes32 = empty(bytes32)
    if abstain != 0:
        neither = self._signing(domain, round, proposal, ABSTAIN)
    cast: uint256 = 0
    others: uint256 = 0
    bit: uint256 = 1
    for chunk: uint256 in range(MAX_MEMBERS // CHUNK):
        if bit > voted:
            break
        code: Bytes[CHUNK_BYTES] = slice(group.code, CHUNK_BYTES * (chunk + 1), CHUNK_BYTES)
        members: uint256[CHUNK] = abi_decode(code, uint256[CHUNK])
        for member: uint256 in members:
            if voted & bit != 0:
                signed: bytes32 = yes
                if approve & bit == 0:
                    signed = no if reject & bit != 0 else neither
                    others = unsafe_add(others, 1)
                signature: uint256[2] = signatures[cast]
                s: uint256 = signature[1] & S_MASK
                assert s <= HALF_ORDER, "colearn: malleable signature"
                assert member == convert(
                    ecrecover(signed, unsafe_add(27, signature[1] >> PARITY), signature[0], s),
                    uint256,
                ), "colearn: wrong signature"
                cast = unsafe_add(cast, 1)
            bit = bit << 1
    assert cast == len(signatures), "colearn: too many signatures"

    head |= (voted & VOTED_MASK) << VOTED
    if voted > VOTED_MASK:
        self._voted_beyond[head >> SPARE & 3] = round << 192 | voted >> IN_HEAD
    self._head = self._tallied(head, seat, unsafe_sub(cast, others), others)
    log ProposedWithVotes(
        round=round,
        proposer=msg.sender,
        proposal=proposal,
        approve=approve,
        reject=reject,
        abstain=abstain,
    )


@external
def vote(round: uint256, proposal: bytes32, choice: uint256):
    """
    @notice Votes on the open round's proposal, or, too late and so without effect, on
            the proposal decided last.
    @param round The round.
    @param proposal Digest of the proposal the vote is about.
    @param choice 1 to approve, 2 to reject, 3 to abstain.
    """
    head: uint256 = self._advanced()
    if round == head & ROUND_MASK:
        seat: uint256 = self._seats[msg.sender]
        assert seat != 0, "colearn: not a member"
        if head & VOTING == 0:
            self._check_drawn(head, seat)
        slot: uint256 = head >> SPARE & 3
        assert proposal == self._proposals[slot], "colearn: wrong proposal"
        index: uint256 = seat >> INDEX & 255
        if index == round % (seat >> SEATS & SEATS_MASK):
            assert seat >> PROPOSER_TOO == 1, "colearn: proposer may not vote"
        if index < IN_HEAD:
            bit: uint256 = 1 << VOTED + index
            assert head & bit == 0, "colearn: already voted"
            head |= bit
        else:
            self._mark_beyond(slot, round, index)
        approvals: uint256 = head >> APPROVALS & 255
        others: uint256 = head >> OTHERS
        if choice == APPROVE:
            approvals += 1
        else:
            assert choice == REJECT or choice == ABSTAIN, "colearn: no such choice"
            others += 1
        self._head = self._tallied(head & BUT_COUNTS, seat, approvals, others)
    else:
        assert choice >= APPROVE and choice <= ABSTAIN, "colearn: no such choice"
        self._head = self._with_late_vote(head, round, proposal)
    log Voted(round=round, voter=msg.sender, choice=choice)


@external
def commit(round: uint256, proposal: bytes32, commitment: bytes32):
    """
    @notice Commits to a vote that nobody can read yet.
    @param round The open round.
    @param proposal Digest of the proposal the vote is about.
    @param commitment keccak256 of the ABI encoding of: chain id, this contract, round,
           voter, proposal, choice, and a salt (bytes32) that nobody can guess.
    """
    head: uint256 = self._advanced()
    assert round == head & ROUND_MASK, "colearn: wrong round"
    seat: uint256 = self._seats[msg.sender]
    assert seat != 0, "colearn: not a member"
    if head & COMMITTING == 0:
        self._refuse_phase(head)
    slot: uint256 = head >> SPARE & 3
    index: uint256 = self._voter(seat, slot, round, proposal)
    head = self._marked(head, VOTED, slot, round, index)
    self._commitments[slot][index] = commitment
    voters: uint256 = unsafe_sub((seat >> SEATS & SEATS_MASK) + (seat >> PROPOSER_TOO), 1)
    if self._hidden(head, slot, round, seat) == voters:
        seconds: uint256 = self._word(convert(seat & GROUP_MASK, address), REVEAL_SECONDS)
        head = self._revealing(head, block.timestamp + seconds)
    self._head = head
    log Committed(round=round, voter=msg.sender, commitment=commitment)


@external
def reveal(round: uint256, choice: uint256, salt: bytes32):
    """
    @notice Reveals the vote that the sender committed to; too late, and so without
            effect, also on the proposal decided last.
    @param round The round.
    @param choice 1 to approve, 2 to reject, 3 to abstain.
    @param salt What hid the vote.
    """
    head: uint256 = self._advanced()
    assert choice >= APPROVE and choice <= ABSTAIN, "colearn: no such choice"
    if round == head & ROUND_MASK:
        seat: uint256 = self._seats[msg.sender]
        assert seat != 0, "colearn: not a member"
        if head & REVEALING == 0:
            self._refuse_phase(head)
        slot: uint256 = head >> SPARE & 3
        head = self._unmarked(head, VOTED, slot, round, seat, choice, salt)
        approvals: uint256 = head >> APPROVALS & 255
        others: uint256 = head >> OTHERS
        if choice == APPROVE:
            approvals += 1
        else:
            others += 1
        hidden: uint256 = self._hidden(head, slot, round, seat)
        self._head = self._tallied_secret(head & BUT_COUNTS, seat, approvals, others, hidden)
    else:
        seat: uint256 = self._late_seat(head, round)
        assert seat >> SECRET & 1 == 1, "colearn: wrong phase"
        slot: uint256 = head >> LAST & 3
        self._head = self._unmarked(head, LAST_VOTED, slot, round, seat, choice, salt)
    log Revealed(round=round, voter=msg.sender, choice=choice, salt=salt)


@external
def pass_turn(round: uint256):
    """
    @notice Gives the sender's turn away: the next round opens at once.
    @param round The open round, which must be the sender's turn.
    """
    head: uint256 = self._advanced()
    seat: uint256 = self._seats[msg.sender]
    self._check_turn(head, seat, round)
    self._head = self._ended(head, seat, False)
    log Passed(round=round, proposer=msg.sender)


@external
def endorse_add(member: address):
    """
    @notice Endorses that a newcomer joins at the end of the rotation. The sender's
            earlier endorsement, if any, is withdrawn, as with every endorsement.
    @param member The newcomer.
    """
    self._endorse(Change(kind=ADD, member=member, successor=empty(address), rule=empty(Rule)))


@external
def endorse_remove(member: address):
    """
    @notice Endorses that a member leaves.
    @param member The member.
    """
    self._endorse(Change(kind=REMOVE, member=member, successor=empty(address), rule=empty(Rule)))


@external
def endorse_replace(member: address, successor: address):
    """
    @notice Endorses that a member's key is replaced; its place in the rotation stays.
    @param member The member.
    @param successor Its new key.
    """
    self._endorse(Change(kind=REPLACE, member=member, successor=successor, rule=empty(Rule)))


@external
def endorse_rule(rule: Rule):
    """
    @notice Endorses another rule.
    @param rule The rule.
    """
    self._endorse(
        Change(kind=SET_RULE, member=empty(address), successor=empty(address), rule=rule)
    )


@external
def rotate_key(successor: address):
    """
    @notice Gives the sender's place to another key of its own, from the next round on.
            Endorsements that stand go on to stand, and follow it to that key.
    @param successor The new key, which must not be a member. Nobody asks for a proof
           that it is at hand: a wrong one loses the place.
    """
    head: uint256 = self._advanced()
    assert self._seats[msg.sender] != 0, "colearn: not a member"
    assert not self._agreed, "colearn: invalid change"
    latest: address = self._latest(head)
    change: Change = Change(
        kind=REPLACE, member=msg.sender, successor=successor, rule=empty(Rule)
    )
    self._next_group = self._stored(
        self._changed(self._members_of(latest), change), self._rule_of(latest)
    )
    name: bytes32 = self._name(msg.sender)
    self._names[self._since][successor] = name
    self._names[self._since][msg.sender] = keccak256(abi_encode(name, successor))
    self._head = head | CHANGING
    log Rotated(member=msg.sender, successor=successor)


@external
@view
def state() -> State:
    """
    @notice The live round at the present time, skipped rounds included.
    @return The model accepted last, round, proposer, deadline, phase, proposal, votes.
    """
    head: uint256 = 0
    group: address = empty(address)
    head, group = self._present()
    live: bool = head & LIVE != 0
    phase: uint256 = 0
    if live:
        phase = 2 if head & COMMITTING != 0 else 3 if head & REVEALING != 0 else 1
    spare: uint256 = head >> SPARE & 3
    round: uint256 = head & ROUND_MASK
    proposer: uint256 = round % self._word(group, SIZE)
    approvals: uint256 = head >> APPROVALS & 255
    return State(
        current=self._proposals[head >> CURRENT & 3],
        round=round,
        proposer=convert(self._word(group, MEMBERS + proposer), address),
        deadline=head >> DEADLINE & DEADLINE_MASK,
        phase=phase,
        proposal=self._proposals[spare] if live else empty(bytes32),
        approvals=approvals,
        cast=approvals + (head >> OTHERS),
        voted=self._all_voted(head >> VOTED, spare, round) if live else 0,
        changing=head & CHANGING != 0,
    )


@external
@view
def last() -> Last:
    """
    @notice The proposal decided last, with all votes on it, late ones included.
    @return Whether there is one; its round, digest, and a bitmap of the members of then.
    """
    head: uint256 = self._present()[0]
    if head & DECIDED == 0:
        return empty(Last)
    slot: uint256 = head >> LAST & 3
    round: uint256 = head >> LAST_ROUND & ROUND_MASK
    return Last(
        decided=True,
        round=round,
        proposal=self._proposals[slot],
        voted=self._all_voted(head >> LAST_VOTED, slot, round),
    )


@external
@view
def voters() -> uint256:
    """
    @notice Who may vote in the live round.
    @return A bitmap: bit i stands for member i.
    """
    head: uint256 = 0
    group: address = empty(address)
    head, group = self._present()
    round: uint256 = head & ROUND_MASK
    seat: uint256 = self._seat_in(group)
    if seat >> COMMITTEE_TOO & 1 == 1:
        return self._drawn(self._proposals[head >> CURRENT & 3], round, seat)
    size: uint256 = seat >> SEATS & SEATS_MASK
    return self._all_of(size) ^ (1 - (seat >> PROPOSER_TOO) << round % size)


@external
@view
def members() -> DynArray[address, MAX_MEMBERS]:
    """
    @notice The members of the live round.
    @return Their addresses, in join order.
    """
    return self._members_of(self._present()[1])


@external
@view
def rule() -> Rule:
    """
    @notice The rule of the live round.
    @return The rule.
    """
    return self._rule_of(self._present()[1])


# ---------------------------------------------------------------- time and rounds


@internal
def _advanced() -> uint256:
    """
    @dev The head once time has passed; scheduled changes that are due take effect.
         Whoever calls this stores the head.
    """
    head: uint256 = self._head
    if block.timestamp >= head >> DEADLINE & DEADLINE_MASK:
        since: uint256 = 0
        head, since = self._elapsed(head)
        if since != 0:
            head = self._with_new_group(head, since)
    return head


@internal
@view
def _present() -> (uint256, address):
    """
    @dev The head and the group at the present time, without storing anything.
    """
    head: uint256 = self._head
    since: uint256 = 0
    if block.timestamp >= head >> DEADLINE & DEADLINE_MASK:
        head, since = self._elapsed(head)
    return head, self._group if since == 0 else self._next_group


@internal
@view
def _elapsed(before: uint256) -> (uint256, uint256):
    """
    @dev The head once what is past its deadline is closed; and the round from which on
         the scheduled changes hold, 0 if they do not yet.
    """
    head: uint256 = before
    deadline: uint256 = head >> DEADLINE & DEADLINE_MASK
    group: address = self._group
    since: uint256 = 0
    if head & COMMITTING != 0:
        deadline += self._word(group, REVEAL_SECONDS)
        if block.timestamp < deadline:
            return self._revealing(head, deadline), 0
    if head & (LIVE | CHANGING) != 0:
        if head & CHANGING != 0:
            group = self._next_group
            since = (head & ROUND_MASK) + 1
        head = self._closed(head, False)
        deadline += self._word(group, PROPOSE_SECONDS)
    else:
        head ^= deadline << DEADLINE
    if block.timestamp >= deadline:
        seconds: uint256 = self._word(group, PROPOSE_SECONDS)
        missed: uint256 = (block.timestamp - deadline) // seconds + 1
        head += missed
        deadline += missed * seconds
    return head | deadline << DEADLINE, since


@internal
def _ended(before: uint256, seat: uint256, accepted: bool) -> uint256:
    """
    @dev The head once the live round has ended now and the next has opened.
    """
    head: uint256 = self._closed(before, accepted)
    seconds: uint256 = seat >> TO_PROPOSE & SECONDS_MASK
    if before & CHANGING != 0:
        head = self._with_new_group(head, head & ROUND_MASK)
        seconds = self._word(self._group, PROPOSE_SECONDS)
    return head | (block.timestamp + seconds) << DEADLINE


@internal
@pure
def _closed(head: uint256, accepted: bool) -> uint256:
    """
    @dev The head of the next round, its deadline still to be set; the live proposal, if
         there is one, is now the one decided last.
    """
    round: uint256 = head & ROUND_MASK
    if head & LIVE == 0:
        return round + 1 | head & FROM_LAST
    last: uint256 = head >> SPARE & 3
    current: uint256 = last if accepted else head >> CURRENT & 3
    spare: uint256 = (last + 1) % 3 if accepted else 3 - current - last
    return (
        round + 1
        | DECIDED
        | current << CURRENT
        | last << LAST
        | spare << SPARE
        | round << LAST_ROUND
        | (head >> VOTED & VOTED_MASK) << LAST_VOTED
    )


@internal
@pure
def _check_turn(head: uint256, seat: uint256, round: uint256):
    """
    @dev Reverts unless a seat's holder may propose or pass.
    """
    assert seat != 0, "colearn: not a member"
    assert round == head & ROUND_MASK, "colearn: wrong round"
    turn: uint256 = round % (seat >> SEATS & SEATS_MASK)
    assert seat >> INDEX & 255 == turn, "colearn: not your turn"
    assert head & LIVE == 0, "colearn: already proposed"


@internal
def _with_proposal(head: uint256, seat: uint256, proposal: bytes32) -> uint256:
    """
    @dev The head with a proposal to vote on; stores its digest.
    """
    self._proposals[head >> SPARE & 3] = proposal
    deadline: uint256 = block.timestamp + (seat >> TO_VOTE & SECONDS_MASK)
    phase: uint256 = VOTING >> (seat >> SECRET & 3)
    return head & ~(DEADLINE_MASK << DEADLINE) | deadline << DEADLINE | phase


@internal
@pure
def _revealing(head: uint256, deadline: uint256) -> uint256:
    """
    @dev The head once members reveal their votes, up to a deadline.
    """
    return head & ~(DEADLINE_MASK << DEADLINE | COMMITTING) | deadline << DEADLINE | REVEALING


@internal
@pure
def _refuse_phase(head: uint256):
    """
    @dev Reverts, for what was tried does not belong to the live round's phase.
    """
    assert head & LIVE != 0, "colearn: no proposal"
    raise "colearn: wrong phase"


# ---------------------------------------------------------------- votes


@internal
def _with_late_vote(head: uint256, round: uint256, proposal: bytes32) -> uint256:
    """
    @dev The head once the sender's vote on the proposal decided last is recorded.
    """
    seat: uint256 = self._late_seat(head, round)
    assert seat >> SECRET & 1 == 0, "colearn: wrong phase"
    slot: uint256 = head >> LAST & 3
    return self._marked(head, LAST_VOTED, slot, round, self._voter(seat, slot, round, proposal))


@internal
@view
def _late_seat(head: uint256, round: uint256) -> uint256:
    """
    @dev The sender's seat when the proposal decided last was voted on. Who may vote on
         it is up to the group and the rule of its round.
    """
    assert head & DECIDED != 0, "colearn: wrong round"
    assert round == head >> LAST_ROUND & ROUND_MASK, "colearn: wrong round"
    seat: uint256 = 0
    if head & PAST == 0:
        seat = self._seats[msg.sender]
    else:
        seat = self._past_seat_of(msg.sender)
    assert seat != 0, "colearn: not a member"
    return seat


@internal
@view
def _voter(seat: uint256, slot: uint256, round: uint256, proposal: bytes32) -> uint256:
    """
    @dev A voter's index; reverts if it may not vote, or not on this proposal.
    """
    assert proposal == self._proposals[slot], "colearn: wrong proposal"
    index: uint256 = seat >> INDEX & 255
    if index == round % (seat >> SEATS & SEATS_MASK):
        assert seat >> PROPOSER_TOO == 1, "colearn: proposer may not vote"
    return index


@internal
def _marked(
    head: uint256, votes: uint256, slot: uint256, round: uint256, index: uint256
) -> uint256:
    """
    @dev The head with a member marked as having voted, or committed to a vote; reverts
         if it has.
    """
    if index >= IN_HEAD:
        self._mark_beyond(slot, round, index)
        return head
    bit: uint256 = 1 << votes + index
    assert head & bit == 0, "colearn: already voted"
    return head | bit


@internal
def _unmarked(
    head: uint256,
    votes: uint256,
    slot: uint256,
    round: uint256,
    seat: uint256,
    choice: uint256,
    salt: bytes32,
) -> uint256:
    """
    @dev The head once the sender's vote is no longer hidden; reverts if it committed to
         none that is still to be revealed, or to another one.
    """
    index: uint256 = seat >> INDEX & 255
    after: uint256 = head
    if index < IN_HEAD:
        bit: uint256 = 1 << votes + index
        assert head & bit != 0, "colearn: nothing to reveal"
        after = head ^ bit
    else:
        beyond: uint256 = self._beyond(slot, round)
        bit: uint256 = 1 << index - IN_HEAD
        assert beyond & bit != 0, "colearn: nothing to reveal"
        self._voted_beyond[slot] = round << 192 | beyond ^ bit
    vote: bytes32 = keccak256(
        abi_encode(chain.id, self, round, msg.sender, self._proposals[slot], choice, salt)
    )
    assert self._commitments[slot][index] == vote, "colearn: wrong reveal"
    return after


@internal
def _mark_beyond(slot: uint256, round: uint256, index: uint256):
    """
    @dev Marks a member above 63 as having voted; reverts if it has.
    """
    beyond: uint256 = self._beyond(slot, round)
    bit: uint256 = 1 << index - IN_HEAD
    assert beyond & bit == 0, "colearn: already voted"
    self._voted_beyond[slot] = round << 192 | beyond | bit


@internal
def _tallied(head: uint256, seat: uint256, approvals: uint256, others: uint256) -> uint256:
    """
    @dev The head with the counts of the votes; or, if no further vote can change the
         outcome, once the round has ended with it.
    """
    too_few: uint256 = seat >> TOO_FEW & 255
    if approvals > too_few and approvals + others > seat >> NO_QUORUM & 255:
        return self._ended(head, seat, True)
    if others > seat >> MOST_OTHERS & 255:
        return self._ended(head, seat, False)
    return head | approvals << APPROVALS | others << OTHERS


@internal
def _tallied_secret(
    head: uint256, seat: uint256, approvals: uint256, others: uint256, hidden: uint256
) -> uint256:
    """
    @dev The same for revealed votes, when no more can come than are still hidden.
    """
    too_few: uint256 = seat >> TOO_FEW & 255
    no_quorum: uint256 = seat >> NO_QUORUM & 255
    cast: uint256 = approvals + others
    if approvals > too_few and cast > no_quorum:
        return self._ended(head, seat, True)
    if approvals + hidden <= too_few or cast + hidden <= no_quorum:
        return self._ended(head, seat, False)
    return head | approvals << APPROVALS | others << OTHERS


@internal
@view
def _hidden(head: uint256, slot: uint256, round: uint256, seat: uint256) -> uint256:
    """
    @dev How many have committed to a vote on the live proposal and not revealed it.
    """
    hidden: uint256 = self._ones(head >> VOTED & VOTED_MASK)
    if seat >> SEATS & SEATS_MASK > IN_HEAD:
        hidden += self._ones(self._beyond(slot, round))
    return hidden


@internal
@pure
def _ones(word: uint256) -> uint256:
    """
    @dev How many bits of a word are set, up to 255: added up in pairs, fours and bytes.
    """
    pairs: uint256 = unsafe_sub(word, word >> 1 & IN_PAIRS)
    fours: uint256 = unsafe_add(pairs & IN_FOURS, pairs >> 2 & IN_FOURS)
    octets: uint256 = unsafe_add(fours, fours >> 4) & IN_OCTETS
    return unsafe_mul(octets, EVERY_OCTET) >> 248


@internal
@view
def _beyond(slot: uint256, round: uint256) -> uint256:
    """
    @dev Bitmap of the members 64 to 255 that voted in a round, bit 0 for member 64.
    """
    word: uint256 = self._voted_beyond[slot]
    return word & BEYOND_MASK if word >> 192 == round else 0


@internal
@view
def _all_voted(voted: uint256, slot: uint256, round: uint256) -> uint256:
    """
    @dev Bitmap of all members that voted in a round.
    """
    return voted & VOTED_MASK | self._beyond(slot, round) << IN_HEAD


@internal
@pure
def _check_bitmaps(seat: uint256, approve: uint256, reject: uint256, abstain: uint256):
    """
    @dev Reverts unless each vote is a member's that may vote, and its only one.
    """
    voted: uint256 = approve | reject | abstain
    assert voted >> (seat >> SEATS & SEATS_MASK) == 0, "colearn: not a member"
    assert (
        seat >> PROPOSER_TOO == 1 or voted >> (seat >> INDEX & 255) & 1 == 0
    ), "colearn: proposer may not vote"
    assert approve & reject | (approve | reject) & abstain == 0, "colearn: already voted"


@internal
@view
def _check_drawn(head: uint256, seat: uint256):
    """
    @dev Reverts unless members that are drawn vote, and a seat's holder is one of them;
         of the proposer it is said elsewhere that it is not.
    """
    if head & DRAWN == 0:
        self._refuse_phase(head)
    round: uint256 = head & ROUND_MASK
    index: uint256 = seat >> INDEX & 255
    if index != round % (seat >> SEATS & SEATS_MASK):
        drawn: uint256 = self._drawn(self._proposals[head >> CURRENT & 3], round, seat)
        assert drawn >> index & 1 == 1, "colearn: not drawn"


@internal
@pure
def _drawn(seed: bytes32, round: uint256, seat: uint256) -> uint256:
    """
    @dev Bitmap of a round's committee, as in `colearn/committee.py`. Each member but the
         proposer has the same chance. Where more than half are to be drawn, those are
         drawn that are left out.
    """
    size: uint256 = seat >> SEATS & SEATS_MASK
    proposer: uint256 = 1 << round % size
    others: uint256 = self._all_of(size) ^ proposer
    few: uint256 = (seat >> TOO_FEW & 255) + (seat >> MOST_OTHERS & 255) + 1
    rest: uint256 = size - 1 - few
    if rest == 0:
        return others
    most: bool = few > rest
    if most:
        few = rest
    whole: uint256 = LANES - LANES % size
    picked: uint256 = proposer
    for counter: uint256 in range(MOST_HASHES):
        numbers: uint256 = convert(
            sha256(concat(seed, convert(round, bytes32), convert(counter, bytes32))), uint256
        )
        for _: uint256 in range(LANES_A_HASH):
            number: uint256 = numbers >> 240
            numbers = numbers << 16
            if number < whole:
                bit: uint256 = 1 << number % size
                if picked & bit == 0:
                    picked |= bit
                    few = unsafe_sub(few, 1)
                    if few == 0:
                        return others & ~picked if most else picked ^ proposer
    raise "colearn: not drawn"


@internal
@pure
def _all_of(size: uint256) -> uint256:
    """
    @dev Bitmap of so many members, up to 256.
    """
    return max_value(uint256) >> (MAX_MEMBERS - size)


@internal
@view
def _domain() -> bytes32:
    """
    @dev Chain and contract, part of all that is signed. Looked up each time: after a
         fork of the chain, a signature holds on one side only.
    """
    return keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))


@internal
@pure
def _signing(domain: bytes32, round: uint256, proposal: bytes32, choice: uint256) -> bytes32:
    """
    @dev What a member signs for a vote (EIP-712).
    """
    vote: bytes32 = keccak256(abi_encode(VOTE_TYPE, round, proposal, choice))
    return keccak256(concat(x"1901", domain, vote))


@internal
@view
def _past_seat_of(member: address) -> uint256:
    """
    @dev A member's seat in the group that decided last, found by going through it;
         only what a late vote needs is filled in. 0 for a stranger.
    """
    group: address = self._past_group
    size: uint256 = self._word(group, SIZE)
    for index: uint256 in range(size, bound=MAX_MEMBERS):
        if convert(self._word(group, MEMBERS + index), address) == member:
            return (
                convert(group, uint256)
                | index << INDEX
                | size << SEATS
                | min(self._word(group, REVEAL_SECONDS), 1) << SECRET
                | self._word(group, PROPOSER_VOTES) << PROPOSER_TOO
            )
    return 0


# ---------------------------------------------------------------- members and rule


@internal
def _endorse(change: Change):
    """
    @dev Endorses a change for the sender. Once enough do, it is scheduled: the group
         that all scheduled changes make is stored, for the next round.
    """
    head: uint256 = self._advanced()
    seat: uint256 = self._seats[msg.sender]
    assert seat != 0, "colearn: not a member"
    index: uint256 = seat >> INDEX & 255
    key: bytes32 = self._key(change)
    assert not self._scheduled[key], "colearn: already endorsed"
    before: bytes32 = self._endorsed[index]
    assert before != key, "colearn: already endorsed"
    latest: address = self._latest(head)
    members: DynArray[address, MAX_MEMBERS] = self._changed(self._members_of(latest), change)
    if change.kind == SET_RULE:
        self._check_rule(change.rule)

    if before != empty(bytes32):
        self._backers[before] -= 1
    self._endorsed[index] = key
    backers: uint256 = self._backers[key] + 1
    self._backers[key] = backers
    share: uint256 = self._word(self._group, SIZE) * self._word(self._group, GOVERNANCE_NUM)
    if backers * self._word(self._group, GOVERNANCE_DEN) > share:
        self._scheduled[key] = True
        self._agreed = True
        self._next_group = self._stored(
            members, change.rule if change.kind == SET_RULE else self._rule_of(latest)
        )
        head |= CHANGING
    self._head = head
    log Endorsed(member=msg.sender, change=change)


@internal
@view
def _key(change: Change) -> bytes32:
    """
    @dev The digest under which endorsements of a change are counted. A newcomer is
         called by its address, a member by the name that rotations leave as it is.
    """
    member: bytes32 = convert(change.member, bytes32)
    if change.kind != ADD:
        member = self._name(change.member)
    return keccak256(abi_encode(self._since, change.kind, member, change.successor, change.rule))


@internal
@view
def _name(member: address) -> bytes32:
    """
    @dev What endorsements call a member: its address, unless it came by a rotation.
    """
    name: bytes32 = self._names[self._since][member]
    return convert(member, bytes32) if name == empty(bytes32) else name


@internal
@view
def _latest(head: uint256) -> address:
    """
    @dev The group that all scheduled changes make.
    """
    return self._next_group if head & CHANGING != 0 else self._group


@internal
@pure
def _changed(
    before: DynArray[address, MAX_MEMBERS], change: Change
) -> DynArray[address, MAX_MEMBERS]:
    """
    @dev The members after a change; reverts if it makes no sense or leaves no group.
    """
    members: DynArray[address, MAX_MEMBERS] = []
    found: bool = False
    for member: address in before:
        if member == change.member:
            found = True
            if change.kind == REMOVE:
                continue
            if change.kind == REPLACE:
                members.append(change.successor)
                continue
        members.append(member)
    assert found == (change.kind == REMOVE or change.kind == REPLACE), "colearn: invalid change"
    if change.kind == ADD:
        assert len(members) < MAX_MEMBERS, "colearn: invalid change"
        members.append(change.member)
    if change.kind == REPLACE:
        assert change.successor not in before, "colearn: invalid change"
    assert len(members) >= 2, "colearn: invalid change"
    assert empty(address) not in members, "colearn: invalid change"
    return members


@internal
def _with_new_group(head: uint256, since: uint256) -> uint256:
    """
    @dev The head once the scheduled changes have taken effect, from a round on.
    """
    group: address = self._group
    if head & (DECIDED | PAST) == DECIDED:
        self._past_group = group
    for index: uint256 in range(self._word(group, SIZE), bound=MAX_MEMBERS):
        self._seats[convert(self._word(group, MEMBERS + index), address)] = 0
    self._group = self._next_group
    if self._agreed:
        self._since = since
        self._agreed = False
    self._seat(self._next_group)
    return head | PAST


@internal
def _seat(group: address):
    """
    @dev Gives each member of a group its seat.
    """
    seat: uint256 = self._seat_in(group)
    for index: uint256 in range(seat >> SEATS & SEATS_MASK, bound=MAX_MEMBERS):
        member: address = convert(self._word(group, MEMBERS + index), address)
        self._seats[member] = seat | index << INDEX


@internal
@view
def _seat_in(group: address) -> uint256:
    """
    @dev The seat of a group's first member; those of the others differ by the index only.
    """
    size: uint256 = self._word(group, SIZE)
    proposer_votes: uint256 = self._word(group, PROPOSER_VOTES)
    committee: uint256 = self._word(group, COMMITTEE)
    voters: uint256 = size - 1 + proposer_votes
    if committee != 0:
        voters = min(voters, committee)
    too_few: uint256 = self._word(group, THRESHOLD_NUM) * voters
    if self._word(group, INCLUSIVE) == 1:
        too_few -= 1
    too_few //= self._word(group, THRESHOLD_DEN)
    no_quorum: uint256 = self._word(group, QUORUM_NUM) * voters
    if no_quorum > 0:
        no_quorum = (no_quorum - 1) // self._word(group, QUORUM_DEN)
    return (
        convert(group, uint256)
        | size << SEATS
        | too_few << TOO_FEW
        | no_quorum << NO_QUORUM
        | voters - 1 - too_few << MOST_OTHERS
        | self._word(group, PROPOSE_SECONDS) << TO_PROPOSE
        | self._word(group, VOTE_SECONDS) << TO_VOTE
        | min(self._word(group, REVEAL_SECONDS), 1) << SECRET
        | min(committee, 1) << COMMITTEE_TOO
        | proposer_votes << PROPOSER_TOO
    )


@internal
def _stored(members: DynArray[address, MAX_MEMBERS], rule: Rule) -> address:
    """
    @dev Stores a group as the code of a contract. The code begins with a zero byte, so
         that calling it does nothing.
    """
    words: uint256[MAX_WORDS] = empty(uint256[MAX_WORDS])
    words[SIZE] = len(members)
    words[THRESHOLD_NUM] = convert(rule.threshold_num, uint256)
    words[THRESHOLD_DEN] = convert(rule.threshold_den, uint256)
    words[INCLUSIVE] = convert(rule.inclusive, uint256)
    words[PROPOSER_VOTES] = convert(rule.proposer_votes, uint256)
    words[QUORUM_NUM] = convert(rule.quorum_num, uint256)
    words[QUORUM_DEN] = convert(rule.quorum_den, uint256)
    words[PROPOSE_SECONDS] = convert(rule.propose_seconds, uint256)
    words[VOTE_SECONDS] = convert(rule.vote_seconds, uint256)
    words[REVEAL_SECONDS] = convert(rule.reveal_seconds, uint256)
    words[COMMITTEE] = convert(rule.committee, uint256)
    words[GOVERNANCE_NUM] = convert(rule.governance_num, uint256)
    words[GOVERNANCE_DEN] = convert(rule.governance_den, uint256)
    index: uint256 = MEMBERS
    for member: address in members:
        words[index] = convert(member, uint256)
        index += 1
    chunks: uint256 = (index + CHUNK - 1) // CHUNK
    code: Bytes[32 * MAX_WORDS] = slice(abi_encode(words), 0, CHUNK_BYTES * chunks)
    # push2 length, dup1, push1 10, push0, codecopy, push0, return: what follows is the code.
    length: Bytes[2] = slice(convert(len(code), bytes32), 30, 2)
    return raw_create(concat(x"61", length, x"80600a5f395ff3", code))


@internal
@view
def _word(group: address, position: uint256) -> uint256:
    """
    @dev One word of a group's code.
    """
    return convert(convert(slice(group.code, 32 * position, 32), bytes32), uint256)


@internal
@view
def _members_of(group: address) -> DynArray[address, MAX_MEMBERS]:
    """
    @dev A group's members, in join order.
    """
    members: DynArray[address, MAX_MEMBERS] = []
    for index: uint256 in range(self._word(group, SIZE), bound=MAX_MEMBERS):
        members.append(convert(self._word(group, MEMBERS + index), address))
    return members


@internal
@view
def _rule_of(group: address) -> Rule:
    """
    @dev A group's rule.
    """
    words: Bytes[384] = slice(group.code, 32 * RULE, 384)
    return abi_decode(words, Rule)


@internal
@pure
def _check_members(members: DynArray[address, MAX_MEMBERS]):
    """
    @dev Reverts unless there are at least two members, all different.
    """
    assert len(members) >= 2, "colearn: too few members"
    seen: DynArray[address, MAX_MEMBERS] = []
    for member: address in members:
        assert member != empty(address) and member not in seen, "colearn: invalid members"
        seen.append(member)


@internal
@pure
def _check_rule(rule: Rule):
    """
    @dev Reverts unless a group may run under a rule, as in `colearn.records.Rule`.
    """
    self._check_fraction(rule.threshold_num, rule.threshold_den)
    self._check_fraction(rule.quorum_num, rule.quorum_den)
    self._check_fraction(rule.governance_num, rule.governance_den)
    assert rule.threshold_num > 0, "colearn: invalid rule"
    assert rule.inclusive or rule.threshold_num < rule.threshold_den, "colearn: invalid rule"
    assert rule.governance_num < rule.governance_den, "colearn: invalid rule"
    assert rule.governance_num >= rule.governance_den - rule.governance_num, "colearn: invalid rule"
    for seconds: uint32 in [rule.propose_seconds, rule.vote_seconds]:
        assert seconds >= 1 and seconds <= MAX_SECONDS, "colearn: invalid rule"
    assert rule.reveal_seconds <= MAX_SECONDS, "colearn: invalid rule"
    if rule.committee != 0:
        assert rule.committee >= 2 and not rule.proposer_votes, "colearn: invalid rule"
        assert rule.reveal_seconds == 0, "colearn: invalid rule"


@internal
@pure
def _check_fraction(num: uint16, den: uint16):
    """
    @dev Reverts unless a fraction lies between 0 and 1 and is in lowest terms, so that
         equal rules are equal to the bit.
    """
    assert num <= den, "colearn: invalid rule"
    a: uint16 = den
    b: uint16 = num
    for _: uint256 in range(32):
        if b == 0:
            break
        rest: uint16 = a % b
        a = b
        b = rest
    assert a == 1, "colearn: not in lowest terms"
