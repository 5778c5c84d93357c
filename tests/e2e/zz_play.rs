use crate::support::world::World;
#[test]
fn play() {
    let world = World::new();
    let script = std::env::var("PLAY").unwrap();
    let mut c = world.command("/bin/bash");
    c.args(["-c", &format!("alias x=y; flambeau() {{ {} \"$@\"; }}; export -f flambeau; {script}", env!("CARGO_BIN_EXE_flambeau"))]);
    c.env("PATH", format!("{}:/usr/bin:/bin", world.variables()["PATH"]));
    let o = world.run(c);
    println!("{o}");
    for r in world.server().requests() { println!("{r}"); }
}
