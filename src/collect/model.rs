//! The protocol between collections, builds, activations and running processes, checked exhaustively.
//!
//! The model has one wheel tree and one environment made of it, a builder, an activator (of another project), a process
//! that starts in the environment, and a collection that may run twice. Every one may die at any step; its locks, its
//! claim and its processes die with it, as flock and the kernel have it. The checker visits every order of steps.
//!
//! Each step names the function that takes it. What must hold always:
//!
//! - whatever is visible is whole: an environment has its tree;
//! - what a builder has found or made stays until it ends;
//! - what is active is there, and what runs has its environment, and that one has its tree.
//!
//! Each guard is then left out once, and the checker has to find the history in which that does harm: a guard whose
//! absence nobody notices would be no guard, or the model would not see it.

use stateright::{Checker as _, Model, Property};

/// Where a builder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Builder {
    Idle,
    /// `Store::claim`: the file is there, the lock is not yet (a step of its own only without the gate).
    Unlocked,
    /// `Store::claim`.
    Claimed,
    /// `Claim::hold`: names the environment and the tree.
    Named,
    /// `Trees::find_named`: has looked for the tree and found it or not.
    Looked {
        found: bool,
    },
    /// `Trees::finish`: the tree is visible, and is relied on.
    HasTree,
    /// `env::build::build`: the environment is visible, and is relied on.
    HasEnv,
    Ended,
}

/// Where an activator stands: `Profile::register`, `Profile::activate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Activator {
    Idle,
    Gated,
    /// Has seen the environment.
    Looked,
    /// The generation stands and the link has flipped.
    Active,
    Refused,
    Ended,
}

/// Where a process of the environment stands: `_flambeau.pin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    Idle,
    /// Has opened the lease file of this number.
    Opened(u8),
    /// Holds the lease file of this number.
    Leased(u8),
    /// Has seen pyvenv.cfg, and runs.
    Running(u8),
    /// Found the environment gone, and resolves `.venv` again.
    Ended,
}

/// Where a collection stands: `Collector::collect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Collection {
    Idle,
    /// `Plan::of`: what seemed dead.
    Planned {
        env: bool,
        tree: bool,
    },
    /// `Store::close_gate`.
    Closed {
        env: bool,
        tree: bool,
    },
    /// `Survey::of`, again; what is dead for certain.
    Surveyed {
        env: bool,
        tree: bool,
    },
    /// `Behind::object`: has the lease of the environment.
    Leased {
        tree: bool,
    },
    /// `Behind::object`: the first of the two is out of sight.
    Half {
        env: bool,
        tree: bool,
    },
    Ended,
}

/// The guards of the protocol; all are there in the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The collection does not close the gate.
    ClosedGate,
    /// Builds claim without holding the gate.
    GateOfClaims,
    /// Builds claim nothing.
    Claims,
    /// Builds look first and claim what they found.
    ClaimBeforeLook,
    /// A claim file is made, and locked some time later.
    LockedClaims,
    /// The collection takes what it had planned, without a second look.
    SecondLook,
    /// Activation holds no gate.
    GateOfActivation,
    /// The collection does not take the lease.
    LeaseOfCollection,
    /// Processes take no lease.
    LeaseOfProcesses,
    /// A process that has its lease does not look whether its environment is still there.
    LookAfterLease,
    /// The lease file goes with its environment.
    LastingLease,
    /// The tree goes before its environment.
    EnvironmentFirst,
}

struct Protocol {
    without: Without,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Whether the tree and the environment are visible.
    tree: bool,
    env: bool,
    /// The number of the lease file at the environment's path.
    lease: u8,
    builder: Builder,
    /// What the builder's claim names; `None` without a claim file.
    claim: Option<bool>,
    activator: Activator,
    process: Process,
    collection: Collection,
    /// How many collections may still start.
    collections: u8,
    /// Whether the builder has been killed, so that it may start again.
    killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Build,
    KillBuilder,
    Activate,
    KillActivator,
    Run,
    EndProcess,
    Collect,
    KillCollection,
}

impl State {
    /// Whether somebody holds the gate shared.
    fn gate_is_held(&self) -> bool {
        matches!(self.activator, Activator::Gated | Activator::Looked)
    }

    /// Whether the collection holds the gate exclusively.
    fn gate_is_closed(&self, without: Without) -> bool {
        without != Without::ClosedGate
            && matches!(
                self.collection,
                Collection::Closed { .. }
                    | Collection::Surveyed { .. }
                    | Collection::Leased { .. }
                    | Collection::Half { .. }
            )
    }

    /// The lease file on which a process holds its shared lock.
    fn leased(&self) -> Option<u8> {
        match self.process {
            Process::Leased(file) | Process::Running(file) => Some(file),
            _ => None,
        }
    }

    /// `Survey::of`: whether the environment and the tree are dead. Both are as old as can be.
    fn survey(&self) -> (bool, bool) {
        let claimed = self.claim == Some(true);
        let rooted = self.activator == Activator::Active;
        let leased = self.leased() == Some(self.lease);
        let env_lives = self.env && (claimed || rooted || leased);
        let tree_lives = claimed || env_lives;
        (self.env && !env_lives, self.tree && !tree_lives)
    }

    fn builder_relies_on(&self) -> (bool, bool) {
        match self.builder {
            Builder::Looked { found } => (found, false),
            Builder::HasTree => (true, false),
            Builder::HasEnv => (true, true),
            _ => (false, false),
        }
    }
}

impl Protocol {
    fn build(&self, state: &mut State) -> bool {
        let gated = self.without != Without::GateOfClaims;
        let blocked = gated && state.gate_is_closed(self.without);
        match state.builder {
            Builder::Idle if self.without == Without::LockedClaims => {
                state.claim = Some(false);
                state.builder = Builder::Unlocked;
            }
            Builder::Idle => {
                if blocked {
                    return false;
                }
                state.claim = Some(false);
                state.builder = Builder::Claimed;
            }
            Builder::Unlocked => state.builder = Builder::Claimed,
            Builder::Claimed if self.without == Without::ClaimBeforeLook => {
                state.builder = Builder::Looked { found: state.tree };
            }
            Builder::Claimed => {
                if blocked {
                    return false;
                }
                // The file may have been taken for a dead build's: then the name goes into a file that nobody reads.
                if self.without != Without::Claims && state.claim.is_some() {
                    state.claim = Some(true);
                }
                state.builder = Builder::Named;
            }
            Builder::Named => state.builder = Builder::Looked { found: state.tree },
            Builder::Looked { .. } => {
                if self.without == Without::ClaimBeforeLook && state.claim == Some(false) {
                    if blocked {
                        return false;
                    }
                    state.claim = Some(true);
                    return true;
                }
                // Found, or made in `tmp/` and renamed into place.
                if state.builder == (Builder::Looked { found: false }) {
                    state.tree = true;
                }
                state.builder = Builder::HasTree;
            }
            Builder::HasTree => {
                // `create_lease` keeps a file that is there; `Store::commit` makes the environment visible.
                state.env = true;
                state.builder = Builder::HasEnv;
            }
            Builder::HasEnv => {
                state.claim = None;
                state.builder = Builder::Ended;
            }
            Builder::Ended => return false,
        }
        true
    }

    fn activate(&self, state: &mut State) -> bool {
        match state.activator {
            Activator::Idle if self.without == Without::GateOfActivation => {
                state.activator = if state.env {
                    Activator::Looked
                } else {
                    Activator::Refused
                };
            }
            Activator::Idle => {
                if state.gate_is_closed(self.without) {
                    return false;
                }
                state.activator = Activator::Gated;
            }
            Activator::Gated => {
                state.activator = if state.env {
                    Activator::Looked
                } else {
                    Activator::Refused
                };
            }
            Activator::Looked => state.activator = Activator::Active,
            // The project goes on to another environment.
            Activator::Active => state.activator = Activator::Ended,
            Activator::Refused | Activator::Ended => return false,
        }
        true
    }

    fn run(&self, state: &mut State) -> bool {
        match state.process {
            Process::Idle if state.env => state.process = Process::Opened(state.lease),
            Process::Opened(file) => {
                let collecting = matches!(state.collection, Collection::Leased { .. }) && file == state.lease;
                if collecting && self.without != Without::LeaseOfProcesses {
                    return false;
                }
                state.process = Process::Leased(file);
            }
            Process::Leased(file) => {
                let there = state.env || self.without == Without::LookAfterLease;
                state.process = if there { Process::Running(file) } else { Process::Ended };
            }
            Process::Idle | Process::Running(_) | Process::Ended => return false,
        }
        true
    }

    fn collect(&self, state: &mut State) -> bool {
        let tree_first = self.without == Without::EnvironmentFirst;
        match state.collection {
            Collection::Idle if state.collections > 0 => {
                state.collections -= 1;
                let (env, tree) = state.survey();
                state.collection = Collection::Planned { env, tree };
            }
            Collection::Planned { env, tree } => {
                if state.gate_is_held() && self.without != Without::ClosedGate {
                    return false;
                }
                state.collection = Collection::Closed { env, tree };
            }
            Collection::Closed { env, tree } => {
                // A claim that is not locked is a dead build's, and goes.
                if state.builder == Builder::Unlocked {
                    state.claim = None;
                }
                let (env, tree) = if self.without == Without::SecondLook {
                    (env, tree)
                } else {
                    let now = state.survey();
                    (env && now.0, tree && now.1)
                };
                state.collection = Collection::Surveyed { env, tree };
            }
            Collection::Surveyed { env: true, tree } if tree_first && tree => {
                state.tree = false;
                state.collection = Collection::Half { env: true, tree: false };
            }
            Collection::Surveyed { env: true, tree } | Collection::Half { env: true, tree } => {
                let held = state.leased() == Some(state.lease) && self.without != Without::LeaseOfProcesses;
                state.collection = if held && self.without != Without::LeaseOfCollection {
                    // The environment stays, and so does its tree.
                    Collection::Ended
                } else {
                    Collection::Leased { tree }
                };
            }
            Collection::Leased { tree } => {
                state.env = false;
                if self.without == Without::LastingLease {
                    state.lease += 1;
                }
                state.collection = Collection::Half { env: false, tree };
            }
            Collection::Surveyed { env: false, tree } | Collection::Half { env: false, tree } => {
                // A tree goes only where no visible environment is made of it.
                if tree && !(state.env && self.without != Without::SecondLook) {
                    state.tree = false;
                }
                state.collection = Collection::Ended;
            }
            Collection::Ended => state.collection = Collection::Idle,
            Collection::Idle => return false,
        }
        true
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let fresh = State {
            tree: false,
            env: false,
            lease: 0,
            builder: Builder::Idle,
            claim: None,
            activator: Activator::Idle,
            process: Process::Idle,
            collection: Collection::Idle,
            collections: 2,
            killed: false,
        };
        let orphan = State {
            tree: true,
            ..fresh.clone()
        };
        let built = State {
            env: true,
            ..orphan.clone()
        };
        vec![fresh, orphan, built]
    }

    fn actions(&self, _state: &State, actions: &mut Vec<Step>) {
        actions.extend([
            Step::Build,
            Step::KillBuilder,
            Step::Activate,
            Step::KillActivator,
            Step::Run,
            Step::EndProcess,
            Step::Collect,
            Step::KillCollection,
        ]);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let moved = match step {
            Step::Build => self.build(&mut state),
            Step::Activate => self.activate(&mut state),
            Step::Run => self.run(&mut state),
            Step::Collect => self.collect(&mut state),
            // SIGKILL: locks and claims are gone; what is visible stays. It may be started once more.
            Step::KillBuilder => {
                let runs = !matches!(state.builder, Builder::Idle | Builder::Ended);
                state.claim = None;
                state.builder = if state.killed { Builder::Ended } else { Builder::Idle };
                state.killed = true;
                runs
            }
            Step::KillActivator => {
                let runs = matches!(state.activator, Activator::Gated | Activator::Looked);
                state.activator = Activator::Ended;
                runs
            }
            Step::EndProcess => {
                let runs = !matches!(state.process, Process::Idle | Process::Ended);
                state.process = Process::Ended;
                runs
            }
            Step::KillCollection => {
                let runs = !matches!(state.collection, Collection::Idle | Collection::Ended);
                state.collection = Collection::Idle;
                runs
            }
        };
        moved.then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is visible is whole", |_, state: &State| !state.env || state.tree),
            Property::always("what a build relies on stays", |_, state: &State| {
                let (tree, env) = state.builder_relies_on();
                (!tree || state.tree) && (!env || state.env)
            }),
            Property::always("what is active is there", |_, state: &State| {
                state.activator != Activator::Active || state.env
            }),
            Property::always("what runs has its environment", |_, state: &State| {
                !matches!(state.process, Process::Running(_)) || state.env && state.tree
            }),
            // Nothing above holds for lack of events.
            Property::sometimes("an environment is collected", |_, state: &State| {
                matches!(state.collection, Collection::Half { env: false, .. }) && !state.env
            }),
            Property::sometimes("a build follows a collection", |_, state: &State| {
                state.collections < 2 && state.builder == Builder::HasEnv
            }),
            Property::sometimes("a process is turned away", |_, state: &State| {
                state.process == Process::Ended && !state.env
            }),
            // Whoever is killed blocks nobody: there is always a step that is no crash.
            Property::always("nobody is blocked for ever", |model: &Protocol, state: &State| {
                let ended =
                    state.builder == Builder::Ended && matches!(state.activator, Activator::Ended | Activator::Refused);
                let steps = [Step::Build, Step::Activate, Step::Run, Step::Collect];
                ended || steps.iter().any(|step| model.next_state(state, *step).is_some())
            }),
        ]
    }
}

/// The properties of [`Protocol`] that fail, and how many states there are.
fn broken(without: Without) -> (Vec<&'static str>, usize) {
    let checker = Protocol { without }.checker().threads(1).spawn_bfs().join();
    let mut names: Vec<_> = checker.discoveries().into_keys().collect();
    names.retain(|name| {
        !matches!(
            checker.model().property(name).expectation,
            stateright::Expectation::Sometimes
        )
    });
    names.sort_unstable();
    (names, checker.unique_state_count())
}

#[test]
fn the_protocol_holds_in_every_order_of_steps_and_crashes() {
    let checker = Protocol {
        without: Without::Nothing,
    }
    .checker()
    .threads(1)
    .spawn_bfs()
    .join();
    checker.assert_properties();
    assert!(
        checker.unique_state_count() > 5_000,
        "{} states are too few to say anything",
        checker.unique_state_count()
    );
}

#[test]
fn each_guard_that_is_left_out_is_missed() {
    for (without, expected) in [
        (Without::ClosedGate, "what a build relies on stays"),
        (Without::GateOfClaims, "what a build relies on stays"),
        (Without::Claims, "what a build relies on stays"),
        (Without::ClaimBeforeLook, "what a build relies on stays"),
        (Without::LockedClaims, "what a build relies on stays"),
        (Without::SecondLook, "what a build relies on stays"),
        (Without::GateOfActivation, "what is active is there"),
        (Without::LeaseOfCollection, "what runs has its environment"),
        (Without::LeaseOfProcesses, "what runs has its environment"),
        (Without::LookAfterLease, "what runs has its environment"),
        (Without::LastingLease, "what runs has its environment"),
        (Without::EnvironmentFirst, "what is visible is whole"),
    ] {
        let (broken, _) = broken(without);
        assert!(broken.contains(&expected), "without {without:?}: only {broken:?}");
    }
}
