use super::*;

#[test]
fn ids_say_what_they_mean() {
    for slot in [Slot(1), Slot(77), NodeId::MAX_SLOT] {
        for nid in [1, 40, (1 << 29) - 1] {
            let id = NodeId::of_inode(slot, nid).expect("in range");
            assert_eq!(id.node(), Some(Node::Inode { slot, nid }));
            assert!(id.get() < 1 << 53);
        }
        let data = NodeId::of_data(slot).expect("in range");
        assert_eq!(data.node(), Some(Node::Data(slot)));
    }
    assert_eq!(NodeId::ROOT.node(), Some(Node::Root));
}

#[test]
fn what_does_not_fit_has_no_id() {
    assert_eq!(NodeId::of_inode(Slot(0), 1), None, "would be the root");
    assert_eq!(NodeId::of_inode(Slot(1), 0), None, "is the data file");
    assert_eq!(NodeId::of_inode(Slot(1), 1 << 29), None);
    assert_eq!(NodeId::of_inode(Slot(1 << 24), 40), None);
    assert_eq!(NodeId::of_data(Slot(0)), None);
}

#[test]
fn foreign_numbers_mean_nothing() {
    for number in [0, 2, 40, (1 << 29) - 1, 1 << 53, u64::MAX] {
        assert_eq!(NodeId::from(number).node(), None, "{number}");
    }
}
